/**
 * When files are settled: when a pin arrives (a queued job), when a member comes in or goes out,
 * after a start, and now and then anyway. The passes start from the pins on disk, so nothing depends
 * on a job that Redis may have lost. A file that was settled with the same pin and the same members
 * is passed over.
 */
import type { Log, PeerClient } from '@shoal/chassis';
import { type Cid, discoveryRoutes, type Pin } from '@shoal/protocol';
import type { MemberView } from './member-view.ts';
import type { Metrics } from './metrics.ts';
import type { Settled } from './settle.ts';

/** A file that could not be settled is looked at again after this long, then ever later. */
const RETRY_DELAY_MIN_MS = 1500;
const RETRY_DELAY_MAX_MS = 60_000;
/** Files remembered as settled. Past that the oldest is looked at again: work, not harm. */
const SETTLED_MAX = 100_000;
const PINS_PER_PAGE = 200;

export interface SettleLoop extends AsyncDisposable {
  /** Settles one file now; used by the queue's worker. */
  settleNow(root: Cid, options: { signal: AbortSignal }): Promise<Settled>;
}

export function startSettleLoop(deps: {
  readonly client: PeerClient;
  readonly view: MemberView;
  readonly metrics: Metrics;
  readonly log: Log;
  readonly settle: (root: Cid, options: { signal: AbortSignal }) => Promise<Settled>;
  readonly intervalMs: number;
  readonly delayMs: number;
}): SettleLoop {
  const { client, view, metrics, log } = deps;
  const stop = new AbortController();
  const { signal } = stop;
  /** Root → the members and pin that it was settled for. */
  const settledFor = new Map<Cid, string>();
  const running = new Map<Cid, Promise<Settled>>();
  const retries = new Map<Cid, { timer: NodeJS.Timeout; delayMs: number }>();
  let passing: Promise<void> | undefined;
  let isPassDue = false;
  let timer: NodeJS.Timeout | undefined;
  let placedSet = '';

  const keyOf = ({ replicas, clock }: Pick<Pin, 'replicas' | 'clock'>) =>
    `${replicas} ${clock} ${view.placedSet()}`;

  /** One run a file at a time: a second asker shares the first's. */
  const settleOnce = (root: Cid): Promise<Settled> => {
    const current = running.get(root);
    if (current !== undefined) return current;
    const run = deps
      .settle(root, { signal })
      .then((settled) => {
        metrics.filesSettled.inc({ outcome: settled.isSettled ? 'settled' : 'unsettled' });
        if (settled.isSettled) forgetRetry(root);
        else retryLater(root);
        return settled;
      })
      .catch((err: unknown) => {
        if (!signal.aborted) {
          metrics.filesSettled.inc({ outcome: 'failed' });
          retryLater(root);
        }
        throw err;
      })
      .finally(() => running.delete(root));
    running.set(root, run);
    return run;
  };
  const forgetRetry = (root: Cid): void => {
    clearTimeout(retries.get(root)?.timer);
    retries.delete(root);
  };
  const retryLater = (root: Cid): void => {
    settledFor.delete(root);
    const delayMs = Math.min(
      RETRY_DELAY_MAX_MS,
      2 * (retries.get(root)?.delayMs ?? RETRY_DELAY_MIN_MS / 2),
    );
    clearTimeout(retries.get(root)?.timer);
    const retry = setTimeout(() => {
      settleOnce(root).catch((err: unknown) => log.debug({ err, root }, 'not settled'));
    }, delayMs);
    retries.set(root, { timer: retry, delayMs });
  };

  const settlePin = async (pin: Pin): Promise<void> => {
    const key = keyOf(pin);
    if (settledFor.get(pin.root) === key || retries.has(pin.root)) return;
    try {
      const { isSettled } = await settleOnce(pin.root);
      if (!isSettled) return;
      settledFor.set(pin.root, key);
      if (settledFor.size > SETTLED_MAX) {
        const [oldest] = settledFor.keys();
        if (oldest !== undefined) settledFor.delete(oldest);
      }
    } catch (err) {
      if (!signal.aborted) log.debug({ err, root: pin.root }, 'not settled');
    }
  };
  /** Looks at every file once, a page of pins at a time, one file after the other. */
  const pass = async (): Promise<void> => {
    if (!view.isKnown()) return;
    for (let after: string | undefined = ''; after !== undefined && !signal.aborted;) {
      const page: { pins: Pin[]; next?: string | undefined } = await client.call(
        client.own('discovery'),
        discoveryRoutes.listPins,
        { query: { after, limit: PINS_PER_PAGE } },
        { signal },
      );
      for (const pin of page.pins) {
        if (signal.aborted) return;
        await settlePin(pin);
      }
      after = page.next;
    }
  };
  const passSoon = (delayMs: number): void => {
    if (passing !== undefined) {
      isPassDue = true;
      return;
    }
    clearTimeout(timer);
    timer = setTimeout(() => {
      passing = pass()
        .catch((err: unknown) => log.debug({ err }, 'pass not finished'))
        .finally(() => {
          passing = undefined;
          if (signal.aborted) return;
          passSoon(isPassDue ? deps.delayMs : deps.intervalMs);
          isPassDue = false;
        });
    }, delayMs);
  };

  view.onChange(
    () => {
      if (view.placedSet() === placedSet) return; // a reboot copies nothing
      placedSet = view.placedSet();
      passSoon(deps.delayMs);
    },
    { signal },
  );
  passSoon(deps.delayMs);

  return {
    settleNow: (root) => settleOnce(root),
    async [Symbol.asyncDispose]() {
      stop.abort(new Error('stopping'));
      clearTimeout(timer);
      for (const root of retries.keys()) clearTimeout(retries.get(root)?.timer);
      await Promise.allSettled([passing, ...running.values()]);
    },
  };
}
