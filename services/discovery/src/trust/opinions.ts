/**
 * This peer's opinion of the members, by the proofs that they gave: to its own samples, and to its
 * transfer service, which reports them. Opinions are kept and counted here; the member table reads them.
 */
import type { Log } from '@shoal/chassis';
import type { Member, PeerId } from '@shoal/protocol';
import { createTrust, type ProofOutcome } from '@shoal/swarm';
import type { Metrics } from '../metrics.ts';
import type { WallTimeOf } from '../wall-time.ts';

/** Members that are named in metrics: labels must have a bound. */
const NAMED_MAX = 16;
/** How long a proved sample speaks for what a peer says of other files as well. */
const SAMPLED_FOR_MS = 10 * 60_000;
/** A member that is up is not called silent sooner, even if one that is down is given up sooner. */
const SILENT_AFTER_MIN_MS = 60_000;

export interface Opinions {
  note(peerId: PeerId, outcome: ProofOutcome): void;
  of(peerId: PeerId): Pick<Member, 'proofs' | 'isDistrusted'>;
  /** Whether it proved something lately, and is not distrusted. */
  isSampled(peerId: PeerId): boolean;
  /** Calls back when a member becomes distrusted, or trusted again. */
  onChange(listener: () => void): void;
}

export function createOpinions(deps: {
  readonly clock: () => number;
  readonly wallTimeOf: WallTimeOf;
  readonly outAfterMs: number;
  readonly metrics: Pick<Metrics, 'proofs' | 'unprovedBlocks' | 'distrusted'>;
  readonly log: Log;
}): Opinions {
  const { clock, wallTimeOf, metrics, log } = deps;
  const trust = createTrust({ silentAfterMs: Math.max(SILENT_AFTER_MIN_MS, deps.outAfterMs) });
  const distrusted = new Set<PeerId>();
  const named = new Set<PeerId>();
  const listeners = new Set<() => void>();
  metrics.distrusted.set(0);
  for (const outcome of ['proved', 'failed'] as const) metrics.proofs.inc({ outcome }, 0);

  return {
    onChange: (listener) => void listeners.add(listener),
    note(peerId, outcome) {
      const { proved = 0, mended = [], failed = [], unanswered = 0 } = outcome;
      metrics.proofs.inc({ outcome: 'proved' }, proved + mended.length);
      metrics.proofs.inc({ outcome: 'failed' }, failed.length);
      metrics.proofs.inc({ outcome: 'unanswered' }, unanswered);
      const isChange = trust.note(peerId, outcome, clock());
      const failedBlocks = trust.figures(peerId)?.failed ?? 0;
      if (failedBlocks > 0 && (named.has(peerId) || named.size < NAMED_MAX)) {
        named.add(peerId);
        metrics.unprovedBlocks.set({ peer: peerId }, failedBlocks);
      }
      if (!isChange) return;
      if (trust.isDistrusted(peerId)) {
        distrusted.add(peerId);
        log.warn(
          { peer: peerId, ...trust.figures(peerId) },
          'a member fails to prove the blocks that it says it holds: its copies do not count any more',
        );
      } else {
        distrusted.delete(peerId);
        log.info({ peer: peerId }, 'a member proves its blocks again: its copies count');
      }
      metrics.distrusted.set(distrusted.size);
      for (const listener of listeners) listener();
    },
    of(peerId) {
      const figures = trust.figures(peerId);
      if (figures === undefined) return {};
      const { claimed, proved, failed, unanswered, failedAtMs } = figures;
      return {
        proofs: {
          claimed,
          proved,
          failed,
          unanswered,
          ...(failedAtMs === undefined ? {} : { failedAtMs: wallTimeOf(failedAtMs) }),
        },
        ...(trust.isDistrusted(peerId) ? { isDistrusted: true } : {}),
      };
    },
    isSampled(peerId) {
      const provedAtMs = trust.figures(peerId)?.provedAtMs;
      if (provedAtMs === undefined || trust.isDistrusted(peerId)) return false;
      return clock() - provedAtMs <= SAMPLED_FOR_MS;
    },
  };
}
