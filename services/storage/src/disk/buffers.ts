/**
 * Buffers that are used again. A fresh MiB for every block would keep the garbage collector busier
 * than the hash; a bound on the buffers is at the same time the bound on bodies in flight.
 *
 * They are shared among the callers (our own services, each other peer): a buffer that comes free goes to
 * the caller that has fewest, and one that is held for long gives way to a caller that has fewer.
 */
import { Shares } from '@shoal/chassis';

/** Longest wait for a buffer; callers give a block up by then. */
const WAIT_MAX_MS = 30_000;
/** Held for less than this a buffer is left alone: a block is sent in a tenth of it. */
const YIELDS_AFTER_MS = 2000;

/** The caller that takes a buffer. */
export interface Taker {
  /** The caller whose share it counts against. */
  readonly client: string;
  /** Whether the buffer may be asked back, by its signal, once it was held for long. */
  readonly mayYield?: boolean;
  /** Whether what it is held for moves too slowly while others wait. */
  readonly isSlow?: () => boolean;
}

/** This service's own reads: few, and short. */
export const OWN: Taker = { client: 'own' };

export interface PooledBuffer extends Disposable {
  readonly buffer: Uint8Array;
  /** Fires with a GaveWay when another caller needs it more. */
  readonly signal: AbortSignal;
}

export interface BufferPool {
  /** A buffer, as soon as one is free. @throws Overloaded when too many wait already, or for too long. */
  take(taker: Taker): Promise<PooledBuffer>;
  readonly taken: number;
}

export function createBufferPool(options: {
  readonly sizeBytes: number;
  readonly buffersMax: number;
  readonly waitingMax: number;
  /** What waits, for the problem: `block reads`. */
  readonly what: string;
}): BufferPool {
  const { sizeBytes, buffersMax, waitingMax, what } = options;
  const free: Uint8Array[] = [];
  const shares = new Shares({ what, placesMax: buffersMax, waitingMax, waitMs: WAIT_MAX_MS });
  const { signal } = new AbortController(); // a caller that leaves gives its buffer back at once
  return {
    async take({ client, mayYield = false, isSlow }) {
      let takenAtMs = Infinity;
      const place = await shares.take(client, {
        signal,
        ...(isSlow === undefined ? {} : { isSlow }),
        mayYield: () => mayYield && performance.now() - takenAtMs >= YIELDS_AFTER_MS,
      });
      takenAtMs = performance.now();
      const buffer = free.pop() ?? Buffer.allocUnsafeSlow(sizeBytes);
      let isLent = true;
      return {
        buffer,
        signal: place.signal,
        [Symbol.dispose]() {
          if (!isLent) return;
          isLent = false;
          free.push(buffer);
          place[Symbol.dispose]();
        },
      };
    },
    get taken() {
      return shares.size;
    },
  };
}
