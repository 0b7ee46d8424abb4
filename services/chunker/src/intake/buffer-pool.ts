/**
 * Chunk buffers, used again and again: a copy into a used buffer costs a few per cent of hashing it,
 * a new one for each chunk costs more and leaves the collector behind.
 *
 * The pool is shared by all uploads. A slow sender holds the buffer that it is filling, so the pool
 * has one for each open upload, or slow ones could stop the fast ones for good; beyond that all of them
 * share a few for what is in flight.
 */

/** Unused buffers kept for the next upload; the rest is given back to the system. */
const SPARE_BUFFERS_MAX = 12;

export interface BufferPool {
  /** Makes room for one more upload until disposed. */
  admit(): Disposable;
  /** A buffer, at once or when one comes back; first come, first served. */
  take(options: { signal: AbortSignal }): Uint8Array | Promise<Uint8Array>;
  giveBack(buffer: Uint8Array): void;
  readonly inUse: number;
}

export function createBufferPool({
  sizeBytes,
  sharedMax,
}: {
  readonly sizeBytes: number;
  /** Buffers beyond one for each upload. */
  readonly sharedMax: number;
}): BufferPool {
  const spare: Uint8Array[] = [];
  const waiting = new Set<(buffer: Uint8Array) => void>();
  let inUse = 0;
  let uploads = 0;
  return {
    admit() {
      uploads += 1;
      return {
        [Symbol.dispose]() {
          uploads -= 1;
        },
      };
    },
    take({ signal }) {
      signal.throwIfAborted();
      if (inUse < uploads + sharedMax) {
        inUse += 1;
        return spare.pop() ?? Buffer.allocUnsafeSlow(sizeBytes);
      }
      return new Promise((resolve, reject) => {
        const leave = () => {
          waiting.delete(give);
          // The reason is whatever the caller aborted with, an Error in all our code.
          reject(signal.reason as Error);
        };
        const give = (buffer: Uint8Array) => {
          signal.removeEventListener('abort', leave);
          resolve(buffer);
        };
        waiting.add(give);
        signal.addEventListener('abort', leave, { once: true });
      });
    },
    giveBack(buffer) {
      const [next] = waiting;
      // More than the bound are in use when an upload has just ended: those are not passed on.
      if (next !== undefined && inUse <= uploads + sharedMax) {
        waiting.delete(next);
        next(buffer);
        return;
      }
      inUse -= 1;
      if (spare.length < SPARE_BUFFERS_MAX) spare.push(buffer);
    },
    get inUse() {
      return inUse;
    },
  };
}
