/**
 * Refusals of what other peers sent, by name: the sender, what it was, and which field is
 * wrong. A peer that errs does so again with every heartbeat, so the same refusal is a warning once in
 * a while only; the metric counts them all.
 */
import { type Log, RecentMap } from '@shoal/chassis';
import type { PeerId } from '@shoal/protocol';
import type { Metrics } from '../metrics.ts';

/** The same refusal is logged again after this long. */
const QUIET_MS = 10 * 60_000;
/** Lines of one peer within that time: one that makes up names gets no more. */
const LINES_PER_PEER_MAX = 100;
/** Refusals remembered as logged; past that the oldest is logged again. */
const TOLD_MAX = 1024;
/** Fields and reasons are our own words, names of what is refused are not. */
const NAME_SHOWN_CHARS = 64;

export interface Refusal {
  readonly what: 'message' | 'member' | 'pin' | 'stamp' | 'have-map' | 'root';
  /** The sender, which need not be the maker; undefined for what was on our own disk. */
  readonly from: PeerId | undefined;
  /** Which pin, which member, as far as that is known. */
  readonly name?: string | undefined;
  /** Field and fault. */
  readonly reason: string;
}

export interface Refusals {
  note(refusal: Refusal): void;
}

export function createRefusals(deps: {
  readonly clock: () => number;
  readonly metrics: Pick<Metrics, 'refusals'>;
  readonly log: Pick<Log, 'warn'>;
}): Refusals {
  const bounds = { max: TOLD_MAX, ttlMs: QUIET_MS, clock: deps.clock };
  const told = new RecentMap<string, true>(bounds);
  const lines = new RecentMap<string, { count: number }>(bounds);
  const hasLine = (from: string): boolean => {
    const last = lines.peek(from);
    if (last !== undefined) return (last.count += 1) <= LINES_PER_PEER_MAX;
    lines.set(from, { count: 1 });
    return true;
  };
  return {
    note({ what, from, name = '', reason }) {
      deps.metrics.refusals.inc({ what });
      const shown = name.slice(0, NAME_SHOWN_CHARS);
      const sender = from ?? 'disk';
      const key = `${sender} ${what} ${shown} ${reason}`;
      if (told.has(key) || !hasLine(sender)) return;
      told.set(key, true);
      deps.log.warn({ from: sender, what, name: shown, reason }, 'record refused');
    },
  };
}
