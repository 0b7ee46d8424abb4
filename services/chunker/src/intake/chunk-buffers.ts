/**
 * The chunk buffers that all uploads share, bounded: a semaphore with a FIFO queue over the pool.
 *
 * A slow sender holds the buffer that it is filling, so there is one for each open upload, or slow ones
 * could stop the fast ones for good; beyond that all of them share a few for what is in flight.
 */
import assert from 'node:assert/strict';
import { createBufferPool } from '@shoal/chassis';

/** Idle buffers kept for the next upload; the rest is given back to the system. */
const SPARE_BUFFERS_MAX = 12;

export interface ChunkBuffers {
  /** Makes room for one more upload until disposed. */
  admit(): Disposable;
  /** A buffer, at once or when one comes back; first come, first served. */
  take(options: { signal: AbortSignal }): Uint8Array | Promise<Uint8Array>;
  giveBack(buffer: Uint8Array): void;
  readonly inUse: number;
}

export function createChunkBuffers({
  sizeBytes,
  sharedMax,
}: {
  readonly sizeBytes: number;
  /** Buffers beyond one for each upload. */
  readonly sharedMax: number;
}): ChunkBuffers {
  const pool = createBufferPool(sizeBytes, SPARE_BUFFERS_MAX);
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
        return pool.take();
      }
      return new Promise((resolve, reject) => {
        const leave = () => {
          waiting.delete(give);
          // The caller's reason, an Error in all our code.
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
      assert(inUse > 0, 'a buffer comes back that was not taken');
      const [next] = waiting;
      // More than the bound are in use when an upload has just ended: those are not passed on.
      if (next !== undefined && inUse <= uploads + sharedMax) {
        waiting.delete(next);
        next(buffer);
        return;
      }
      inUse -= 1;
      pool.give(buffer as Buffer); // all of them are the pool's
    },
    get inUse() {
      return inUse;
    },
  };
}
