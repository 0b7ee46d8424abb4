/**
 * One request at a time for each upload, in the order in which they came. A client whose connection died
 * comes back before we notice, so one that has to wait makes the one before end at once: that writes down
 * what it has and releases the lock.
 *
 * One process serves a data folder, so memory is enough.
 */
import { orAborted } from '@shoal/chassis';
import { UploadBusy } from '@shoal/protocol';

/** Longest wait for the one before: it has at most a few chunks on their way to storage. */
const WAIT_MAX_MS = 15_000;

export interface UploadLocks {
  /** The lock of an upload, until disposed. @throws UploadBusy when it does not come in time, or `signal` fires. */
  take(id: string, options: { signal: AbortSignal }): Promise<Disposable>;
}

export function createUploadLocks(takeOver: (id: string) => void): UploadLocks {
  /** The holder comes first. */
  const queues = new Map<string, (() => void)[]>();

  return {
    async take(id, { signal }) {
      const { promise: turn, resolve: begin } = Promise.withResolvers<void>();
      const queue = queues.get(id) ?? [];
      queues.set(id, queue);
      queue.push(begin);
      const lock = {
        [Symbol.dispose]() {
          const at = queue.indexOf(begin);
          if (at >= 0) queue.splice(at, 1);
          if (queue.length === 0 && queues.get(id) === queue) queues.delete(id);
          else if (at === 0) queue[0]?.();
        },
      };
      if (queue[0] === begin) return lock;
      takeOver(id);
      const late = AbortSignal.any([signal, AbortSignal.timeout(WAIT_MAX_MS)]);
      try {
        await orAborted(turn, late, new UploadBusy({ id }));
      } catch (error) {
        lock[Symbol.dispose]();
        throw error;
      }
      return lock;
    },
  };
}
