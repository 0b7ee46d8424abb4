/**
 * Asks this peer's transfer service to settle DAGs. While Redis is down roots wait here; past the bound
 * they are dropped, since transfer's own rounds over the pin set find them again.
 */
import { batchesOf } from '@shoal/blocks';
import type { Log, Loops } from '@shoal/chassis';
import type { Producer } from '@shoal/chassis/queue';
import { type Cid, CIDS_PER_BATCH_MAX } from '@shoal/protocol';
import type { Metrics } from '../metrics.ts';

const WAITING_MAX = 10_000;
const RETRY_MS = 2000;
/** After a job what comes in gathers for this long: a burst of pins is a few jobs. */
const GATHER_MS = 500;

export interface SettleRequests extends Disposable {
  /** Queues a file for transfer to settle. */
  add(root: Cid): void;
}

export function startSettleRequests(deps: {
  readonly producer: Pick<Producer<'settle'>, 'add'>;
  readonly metrics: Metrics;
  readonly loops: Loops;
  readonly log: Log;
}): SettleRequests {
  const { producer, metrics, loops, log } = deps;
  const waiting = new Set<Cid>();
  let isFlushing = false;
  let timer: NodeJS.Timeout | undefined;

  const flush = async (): Promise<void> => {
    if (isFlushing) return;
    isFlushing = true;
    try {
      for (const roots of batchesOf([...waiting], CIDS_PER_BATCH_MAX)) {
        // Taken out first: one that changes while its job is being queued needs another.
        for (const root of roots) waiting.delete(root);
        try {
          await producer.add({ v: 2, roots });
        } catch (error) {
          for (const root of roots) waiting.add(root);
          throw error;
        }
      }
    } finally {
      isFlushing = false;
      metrics.settlesWaiting.set(waiting.size);
    }
  };
  const onFailure = (err: unknown) => log.debug({ err }, 'settle jobs wait for redis');
  const retries = loops.start({
    name: 'settle-requests',
    everyMs: () => RETRY_MS,
    run: flush,
    onFailure,
  });
  return {
    add(root) {
      if (waiting.size < WAITING_MAX) waiting.add(root);
      if (timer !== undefined) return;
      // The first of a burst goes at once, with what comes in the same turn.
      setImmediate(() => void flush().catch(onFailure));
      timer = setTimeout(() => {
        timer = undefined;
        if (waiting.size > 0) void flush().catch(onFailure);
      }, GATHER_MS);
      timer.unref();
    },
    [Symbol.dispose]() {
      clearTimeout(timer);
      retries[Symbol.dispose]();
    },
  };
}
