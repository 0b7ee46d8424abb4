/**
 * Refusals of what other peers sent, by name: the sender, what it was, and which field is
 * wrong. A peer that errs does so again with every heartbeat, so the same refusal is a warning once in
 * a while only; the metric counts them all.
 */
import type { Log } from '@shoal/chassis';
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
  const told = new Map<string, number>();
  const lines = new Map<string, { sinceMs: number; count: number }>();
  const hasLine = (from: string, nowMs: number): boolean => {
    const last = lines.get(from);
    if (last !== undefined && nowMs - last.sinceMs < QUIET_MS)
      return (last.count += 1) <= LINES_PER_PEER_MAX;
    if (lines.size >= TOLD_MAX) lines.clear();
    lines.set(from, { sinceMs: nowMs, count: 1 });
    return true;
  };
  return {
    note({ what, from, name = '', reason }) {
      deps.metrics.refusals.inc({ what });
      const shown = name.slice(0, NAME_SHOWN_CHARS);
      const sender = from ?? 'disk';
      const key = `${sender} ${what} ${shown} ${reason}`;
      const nowMs = deps.clock();
      if (nowMs - (told.get(key) ?? -Infinity) < QUIET_MS || !hasLine(sender, nowMs)) return;
      told.delete(key); // back to the end: the oldest goes first
      told.set(key, nowMs);
      const [oldest] = told.keys();
      if (told.size > TOLD_MAX && oldest !== undefined) told.delete(oldest);
      deps.log.warn({ from: sender, what, name: shown, reason }, 'record refused');
    },
  };
}
