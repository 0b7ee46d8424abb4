/**
 * The end of pins. Every member ends a pin by its own wall clock: nothing is sent, and nothing is
 * deleted here. The blocks of a pin that ended are the sweep's business, which waits longer than any
 * clock is likely to be wrong (`DISCOVERY_EXPIRY_SLACK_MS`).
 *
 * So is the purge of deleted files whose time to be brought back is over. For those nothing waits: the
 * time was counted here, from when this peer heard of the deletion.
 */
import type { Log, Loops, Turn } from '@shoal/chassis';
import type { Cid, Pin } from '@shoal/protocol';
import type { Metrics } from '../metrics.ts';
import type { PinStore } from './pin-store.ts';

/** How often ends are looked for: a file is listed at most this much too long. */
const ROUND_MS = 1000;
/** Pins in one transaction: longer ones would keep uploads waiting. */
const PINS_PER_TURN_MAX = 256;

export function startExpiry(deps: {
  readonly store: Pick<PinStore, 'turn'>;
  /** Something about this file changed. */
  readonly onTurn: (root: Cid) => void;
  readonly onPurge: (pin: Pin) => void;
  readonly metrics: Pick<Metrics, 'pinsExpired' | 'pinsPurged'>;
  readonly loops: Loops;
  readonly log: Log;
}): Disposable {
  const { store, onTurn, onPurge, metrics, loops, log } = deps;
  const round = async ({ beat }: Turn): Promise<void> => {
    for (let isMore = true; isMore;) {
      const { ended, resumed, purged } = await store.turn(PINS_PER_TURN_MAX);
      metrics.pinsExpired.inc(ended.length);
      for (const { root, expiresAtMs } of ended) log.info({ cid: root, expiresAtMs }, 'pin ended');
      for (const { root, expiresAtMs } of resumed)
        log.warn({ cid: root, expiresAtMs }, 'pin lives again: the clock went back');
      metrics.pinsPurged.inc({ why: 'time' }, purged.length);
      for (const { root } of purged)
        log.info({ cid: root }, 'deleted file purged: its time is over');
      for (const { root } of [...ended, ...resumed, ...purged]) onTurn(root);
      for (const pin of purged) onPurge(pin);
      beat();
      isMore = Math.max(ended.length, resumed.length, purged.length) === PINS_PER_TURN_MAX;
    }
  };
  return loops.start({
    name: 'expiry',
    everyMs: () => ROUND_MS,
    run: round,
    onFailure: (err) => log.warn({ err }, 'pins that ended are still listed'),
  });
}
