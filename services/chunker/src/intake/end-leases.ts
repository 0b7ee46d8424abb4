/**
 * The ends of leases. A file's blocks are held by a lease until its pin holds them; without a pin
 * they go when the lease ends, here and, by a `release` job, on the peers that took copies.
 *
 * An end must not be lost because storage is away for a moment, and nobody's answer waits for it:
 * it is tried again in the background, a bounded number of times. After that the lease is storage's
 * to age out.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Log, PeerClient } from '@shoal/chassis';
import { type Lease, storageRoutes } from '@shoal/protocol';

const ATTEMPTS_MAX = 6;
const ATTEMPT_TIMEOUT_MS = 5000;
/** Doubles with each attempt: a restart of storage takes a second or two. */
const RETRY_DELAY_MS = 250;
/** Longest wait for the ends under way when the service stops. */
const STOP_WAIT_MAX_MS = 1500;

export interface Leases extends AsyncDisposable {
  /** Ends a lease. Resolves after the first attempt, others follow in the background; never throws. */
  end(lease: Lease, options: { keep: boolean }): Promise<void>;
}

export function createLeases({
  client,
  log,
}: {
  readonly client: PeerClient;
  readonly log: Log;
}): Leases {
  const stop = new AbortController();
  const underWay = new Set<Promise<void>>();

  /** One attempt; true when nothing is left to do. */
  const tryEnd = async (lease: Lease, keep: boolean, attempt: number): Promise<boolean> => {
    try {
      await client.call(
        client.own('storage'),
        storageRoutes.endLease,
        { params: { lease }, query: { keep: String(keep) } },
        { signal: stop.signal, timeoutMs: ATTEMPT_TIMEOUT_MS },
      );
      return true;
    } catch (err) {
      const isLast = attempt === ATTEMPTS_MAX || stop.signal.aborted;
      if (isLast) log.warn({ err, lease, keep }, 'lease not ended, storage will age it out');
      else log.debug({ err, lease, attempt }, 'ending a lease failed, trying again');
      return isLast;
    }
  };
  const goOn = async (lease: Lease, keep: boolean): Promise<void> => {
    for (let attempt = 2, isDone = false; !isDone; attempt += 1) {
      // Cut short when the service stops; the next attempt then fails at once and says so.
      await Promise.allSettled([
        sleep(RETRY_DELAY_MS * 2 ** (attempt - 2), undefined, { signal: stop.signal }),
      ]);
      isDone = await tryEnd(lease, keep, attempt);
    }
  };
  const track = (ending: Promise<void>): void => {
    const tracked = ending.finally(() => underWay.delete(tracked));
    underWay.add(tracked);
  };

  return {
    async end(lease, { keep }) {
      const first = tryEnd(lease, keep, 1);
      track(first.then(async (isDone) => (isDone ? undefined : goOn(lease, keep))));
      await first;
    },
    async [Symbol.asyncDispose]() {
      const late = setTimeout(() => stop.abort(new Error('the chunker stops')), STOP_WAIT_MAX_MS);
      await Promise.all(underWay);
      clearTimeout(late);
    },
  };
}
