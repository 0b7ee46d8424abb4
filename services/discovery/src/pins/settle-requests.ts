/**
 * Asks this peer's transfer service to settle DAGs. While Redis is down roots wait here; past the bound
 * they are dropped, since transfer's own rounds over the pin set find them again.
 */
import type { Log, Loops } from '@shoal/chassis';
import type { Producer } from '@shoal/chassis/queue';
import type { Cid } from '@shoal/protocol';
import type { Metrics } from '../metrics.ts';

const WAITING_MAX = 10_000;
const RETRY_MS = 2000;

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

  const flush = async (): Promise<void> => {
    if (isFlushing) return;
    isFlushing = true;
    try {
      for (const root of waiting) {
        await producer.add({ v: 1, root }, { id: `settle-${root}` });
        waiting.delete(root);
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
      void flush().catch(onFailure);
    },
    [Symbol.dispose]: () => retries[Symbol.dispose](),
  };
}
