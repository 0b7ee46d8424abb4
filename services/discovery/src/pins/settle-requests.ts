/**
 * Tells this peer's transfer service which DAGs to settle. Redis may be away: roots then wait here, and
 * past the bound they are dropped, since transfer's own rounds over the pin set find them again.
 */
import type { Log } from '@shoal/chassis';
import type { Producer } from '@shoal/chassis/queue';
import type { Cid } from '@shoal/protocol';
import type { Metrics } from '../metrics.ts';
import { repeat } from '../repeat.ts';

const WAITING_MAX = 10_000;
const RETRY_MS = 2000;

export interface Settler extends Disposable {
  settle(root: Cid): void;
}

export function startSettler(deps: {
  readonly producer: Pick<Producer<'settle'>, 'add'>;
  readonly metrics: Metrics;
  readonly log: Log;
}): Settler {
  const { producer, metrics, log } = deps;
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
    } catch (err) {
      log.debug({ err }, 'settle jobs wait for redis');
    } finally {
      isFlushing = false;
      metrics.settlesWaiting.set(waiting.size);
    }
  };
  const retries = repeat(
    flush,
    () => RETRY_MS,
    () => {},
  );
  return {
    settle(root) {
      if (waiting.size < WAITING_MAX) waiting.add(root);
      void flush();
    },
    [Symbol.dispose]: () => retries[Symbol.dispose](),
  };
}
