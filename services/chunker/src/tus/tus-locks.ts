/**
 * One request at a time for each upload. A client whose connection died comes back before we notice,
 * so whoever waits makes the one before end at once: it writes down what it has and lets go.
 *
 * One process serves a data folder, so memory is enough. The library's own locker asks again in each
 * turn of the event loop, which keeps a core busy for as long as it waits.
 */
import { UploadBusy } from '@shoal/protocol';
import type { Lock, Locker } from '@tus/utils';

/** Longest wait for the one before: it has at most a few chunks on their way to storage. */
const WAIT_MAX_MS = 15_000;

export function createTusLocks(takeOver: (id: string) => void): Locker {
  /** Whose turn it is comes first. */
  const queues = new Map<string, { readonly begin: () => void }[]>();

  return {
    newLock(id): Lock {
      const { promise: turn, resolve: begin } = Promise.withResolvers<void>();
      const place = { begin };
      const leave = () => {
        const queue = queues.get(id) ?? [];
        const at = queue.indexOf(place);
        if (at >= 0) queue.splice(at, 1);
        if (queue.length === 0) queues.delete(id);
        else if (at === 0) queue[0]?.begin();
      };
      return {
        async lock(signal) {
          const queue = queues.get(id) ?? [];
          queues.set(id, queue);
          queue.push(place);
          if (queue[0] === place) return;
          takeOver(id);
          const late = AbortSignal.any([signal, AbortSignal.timeout(WAIT_MAX_MS)]);
          await Promise.race([turn, aborted(late)]);
          if (queue[0] === place) return;
          leave();
          throw new UploadBusy({ id });
        },
        async unlock() {
          leave();
        },
      };
    },
  };
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
