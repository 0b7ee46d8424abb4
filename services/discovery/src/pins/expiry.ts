/**
 * The end of pins. Every member ends a pin by its own wall clock, with no message, and nothing is
 * deleted here. Blocks that only ended pins reach are left to the sweep, which waits longer than any
 * clock is likely to be wrong (`DISCOVERY_EXPIRY_SLACK_MS`).
 *
 * Deleted files are purged in the same way once they can't be brought back any more. There the sweep does not
 * wait: the time was counted here, from when this peer heard of the deletion.
 */
import type { Log, Loops, Turn } from '@shoal/chassis';
import type { Cid, Pin } from '@shoal/protocol';
import type { Metrics } from '../metrics.ts';
import type { PinStore } from '../state/pin-store.ts';

/** How often ends are looked for: a file is listed too long by at most this. */
const ROUND_MS = 1000;
/** Pins in one transaction: longer ones would keep uploads waiting. */
const PINS_PER_TURN_MAX = 256;

export function startExpiry(deps: {
  readonly store: Pick<PinStore, 'turn'>;
  /** Something about this file changed. */
  readonly onTurn: (root: Cid) => void;
  readonly onPurge: (pin: Pin) => void;
  /** Reads the pins anew, if that is due. */
  readonly reread: (turn: Turn) => Promise<void>;
  readonly metrics: Pick<Metrics, 'pinsExpired' | 'pinsPurged'>;
  readonly loops: Loops;
  readonly log: Log;
}): Disposable {
  const { store, onTurn, onPurge, reread, metrics, loops, log } = deps;
  const round = async (turn: Turn): Promise<void> => {
    const { beat } = turn;
    await reread(turn);
    for (let isMore = true; isMore;) {
      const { ended, resumed, purged } = await store.turn(PINS_PER_TURN_MAX);
      metrics.pinsExpired.inc(ended.length);
      for (const { root, expiresAtMs } of ended) log.info({ cid: root, expiresAtMs }, 'pin ended');
      for (const { root, expiresAtMs } of resumed)
        log.warn({ cid: root, expiresAtMs }, 'pin is live again: the clock was set back');
      metrics.pinsPurged.inc({ why: 'time' }, purged.length);
      for (const { root } of purged)
        log.info({ cid: root }, 'deleted file purged: it was kept for as long as is set');
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
