/**
 * When files are settled: when a pin arrives (a queued job), when a member comes in or goes out,
 * after a start, and now and then anyway. The passes start from the pins on disk, so nothing depends
 * on a job that Redis may have lost. A file that was settled with the same pin and the same members
 * is passed over until it is due for a fresh look.
 */
import type { Log, Loops, PeerClient } from '@shoal/chassis';
import type { Cid, PeerId, Pin } from '@shoal/protocol';
import { createLimit } from '../copies/copy.ts';
import { isDraining, type MemberView } from '../peers/member-view.ts';
import type { Metrics } from '../metrics.ts';
import type { Settled } from './settle.ts';
import { settlePass } from './settle-pass.ts';

/** A file that could not be settled is looked at again after this long, then ever later. */
const RETRY_DELAY_MIN_MS = 1500;
const RETRY_DELAY_MAX_MS = 60_000;
/** The same while draining: somebody waits for the end of it. */
const RETRY_DELAY_DRAINING_MAX_MS = 5000;
/** A file that was put or changed less long ago may still be spreading… */
const NEW_FOR_MS = 10 * 60_000;
/** …so that it gets a second look after this long: offers may have come in behind the first. */
const SECOND_LOOK_MS = 20_000;
/** Files that wait for another try with a timer of their own; past that, for the next pass. */
const RETRIES_MAX = 10_000;
/** Files remembered as settled. Past that the oldest is looked at again: work, not harm. */
const SETTLED_MAX = 100_000;
/** Files settled at one time, whoever asked for it. */
const SETTLES_MAX = 4;

export interface SettleLoop extends AsyncDisposable {
  /** Settles one file now; used by the queue's worker. */
  settleNow(root: Cid): Promise<Settled>;
  /** Something about these files changed: they are looked at soon, whatever is remembered of them. */
  lookAgain(roots: readonly Cid[]): void;
  /** Whether a file was found in order, for this very pin and the members of now. */
  isSettled(pin: Pin): boolean;
  /**
   * Whether a file is being settled at this moment, or was not found in order since this process
   * started or members changed: our storage may then keep silent about blocks that it has.
   */
  isInDoubt(pin: Pin): boolean;
}

export interface SettleLoopDeps {
  readonly client: PeerClient;
  readonly view: MemberView;
  readonly metrics: Metrics;
  readonly loops: Loops;
  readonly log: Log;
  readonly settle: (root: Cid, options: { signal: AbortSignal }) => Promise<Settled>;
  /** Told of each file of which something was copied or dropped. */
  readonly onRepair: (root: Cid, settled: Settled) => void;
  readonly intervalMs: number;
  readonly resettleMs: number;
  readonly delayMs: number;
}

export function startSettleLoop(deps: SettleLoopDeps): SettleLoop {
  const { client, view, metrics, log } = deps;
  const stop = new AbortController();
  const { signal } = stop;
  const turns = createLimit(SETTLES_MAX);
  const passes = deps.loops.track('settle-pass', () => deps.intervalMs);
  /** Root → the members and pin that it was settled for, and when. */
  const settledFor = new Map<Cid, { key: string; atMs: number }>();
  const running = new Map<Cid, Promise<Settled>>();
  /** Files that changed while they were being settled: what came of that may be out of date. */
  const stale = new Set<Cid>();
  /** Files that are looked at again when their timer fires; the back-off grows with each failure. */
  const retries = new Map<Cid, { timer: NodeJS.Timeout; backOffMs: number }>();
  let passing: Promise<void> | undefined;
  let isPassDue = false;
  let timer: NodeJS.Timeout | undefined;
  let timerDueAtMs = Infinity;
  let placedSet = view.placedSet();
  let askedBefore = new Set<PeerId>(view.asked().map(({ peerId }) => peerId));

  const keyOf = ({ replicas, epoch, clock }: Pin, members = view.placedSet()) =>
    `${replicas} ${epoch} ${clock} ${members}`;
  const isSettled = (pin: Pin): boolean => {
    const known = settledFor.get(pin.root);
    if (known?.key !== keyOf(pin)) return false;
    return performance.now() - known.atMs < deps.resettleMs;
  };
  const noteSettled = ({ root, clock }: Pin, key: string): void => {
    const isFirstLook = settledFor.get(root)?.key !== key;
    settledFor.delete(root); // back to the end: the one looked at longest ago goes first
    settledFor.set(root, { key, atMs: performance.now() });
    if (isFirstLook && Math.abs(Date.now() - clock) < NEW_FOR_MS) lookIn(root, SECOND_LOOK_MS);
    if (settledFor.size <= SETTLED_MAX) return;
    const [oldest] = settledFor.keys();
    if (oldest !== undefined) settledFor.delete(oldest);
  };

  const settleInTurn = (root: Cid): Promise<Settled> =>
    turns(async () => {
      signal.throwIfAborted();
      const members = view.placedSet();
      try {
        const settled = await deps.settle(root, { signal });
        metrics.filesSettled.inc({ outcome: settled.isSettled ? 'settled' : 'unsettled' });
        if (settled.copiedBlocks + settled.droppedBlocks > 0) deps.onRepair(root, settled);
        if (!settled.isSettled || stale.has(root)) retryLater(root);
        else {
          forgetRetry(root);
          if (settled.pin === undefined) settledFor.delete(root);
          else noteSettled(settled.pin, keyOf(settled.pin, members));
        }
        return settled;
      } catch (err) {
        if (!signal.aborted) {
          metrics.filesSettled.inc({ outcome: 'failed' });
          retryLater(root);
        }
        throw err;
      }
    });
  /** One run a file at a time: a second asker shares the first's. */
  const settleOnce = (root: Cid): Promise<Settled> => {
    const current = running.get(root);
    if (current !== undefined) return current;
    const run = settleInTurn(root).finally(() => {
      running.delete(root);
      stale.delete(root);
    });
    running.set(root, run);
    return run;
  };
  const settleQuietly = async (root: Cid): Promise<void> => {
    try {
      await settleOnce(root);
    } catch (err) {
      if (!signal.aborted) log.debug({ err, root }, 'not settled');
    }
  };

  const forgetRetry = (root: Cid): void => {
    clearTimeout(retries.get(root)?.timer);
    retries.delete(root);
  };
  const retryLater = (root: Cid): void => {
    settledFor.delete(root);
    const before = retries.get(root);
    clearTimeout(before?.timer);
    const maxMs = isDraining(view) ? RETRY_DELAY_DRAINING_MAX_MS : RETRY_DELAY_MAX_MS;
    const delayMs = Math.min(maxMs, Math.max(RETRY_DELAY_MIN_MS, 2 * (before?.backOffMs ?? 0)));
    lookIn(root, delayMs, delayMs);
  };
  const lookIn = (root: Cid, delayMs: number, backOffMs = 0): void => {
    if (!retries.has(root) && retries.size >= RETRIES_MAX) return;
    retries.set(root, { timer: setTimeout(() => void settleQuietly(root), delayMs), backOffMs });
  };
  /** What held the files up may be over: the next pass takes them, in its order. */
  const forgetRetries = (): void => {
    for (const root of retries.keys()) {
      forgetRetry(root);
      settledFor.delete(root);
    }
  };

  const pass = async (beat: () => void): Promise<void> => {
    if (!view.isKnown()) return;
    const isDue = (pin: Pin) => !isSettled(pin) && !retries.has(pin.root);
    const settlePin = ({ root }: Pin) => settleQuietly(root).finally(beat);
    await settlePass({ client, view, log, isDue, settlePin }, { signal });
  };
  const passSoon = (delayMs: number): void => {
    if (passing !== undefined) {
      isPassDue = true;
      return;
    }
    // A wait that began is not begun anew: members that change all the time must not hold it up.
    const dueAtMs = Math.min(timerDueAtMs, performance.now() + delayMs);
    clearTimeout(timer);
    timerDueAtMs = dueAtMs;
    timer = setTimeout(
      () => {
        timerDueAtMs = Infinity;
        passing = passes
          .run(pass)
          .catch((err: unknown) => log.debug({ err }, 'pass not finished'))
          .finally(() => {
            passing = undefined;
            if (signal.aborted) return;
            passSoon(isPassDue ? deps.delayMs : deps.intervalMs);
            isPassDue = false;
          });
      },
      Math.max(0, dueAtMs - performance.now()),
    );
  };

  view.onChange(
    () => {
      const asked = new Set(view.asked().map(({ peerId }) => peerId));
      const isSomebodyBack = [...asked].some((peerId) => !askedBefore.has(peerId));
      const isMoved = view.placedSet() !== placedSet;
      askedBefore = asked;
      placedSet = view.placedSet();
      // A reboot copies nothing: files that are settled stay so, the pass looks at the others.
      if (!isMoved && !(isSomebodyBack && retries.size > 0)) return;
      forgetRetries();
      passSoon(deps.delayMs);
    },
    { signal },
  );
  passSoon(deps.delayMs);

  return {
    settleNow(root) {
      if (running.has(root)) stale.add(root);
      return settleOnce(root);
    },
    lookAgain(roots) {
      for (const root of roots) {
        if (running.has(root)) stale.add(root);
        forgetRetry(root);
        retryLater(root);
      }
    },
    isSettled,
    isInDoubt: (pin) =>
      // Of more files than are remembered, nothing can be said but this.
      running.has(pin.root) || (!isSettled(pin) && settledFor.size < SETTLED_MAX),
    async [Symbol.asyncDispose]() {
      stop.abort(new Error('stopping'));
      clearTimeout(timer);
      forgetRetries();
      await Promise.allSettled([passing, ...running.values()]);
    },
  };
}
