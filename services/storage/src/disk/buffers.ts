/**
 * A bounded number of buffers on loan: the bound on them is at the same time the bound on bodies in flight.
 *
 * They are shared among the callers (our own services, each other peer): a buffer that comes free goes to
 * the caller that has fewest, and one that is held for long gives way to a caller that has fewer.
 */
import { createBufferPool, Shares } from '@shoal/chassis';

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

export interface LentBuffer extends Disposable {
  readonly buffer: Uint8Array;
  /** Fires with a GaveWay when another caller needs it more. */
  readonly signal: AbortSignal;
}

export interface SharedBuffers {
  /** A buffer, as soon as one is free. @throws Overloaded when too many wait already, or for too long. */
  take(taker: Taker): Promise<LentBuffer>;
  readonly taken: number;
}

export function createSharedBuffers(options: {
  readonly sizeBytes: number;
  readonly buffersMax: number;
  readonly waitingMax: number;
  /** The name of those that wait, for the problem: `block reads`. */
  readonly what: string;
}): SharedBuffers {
  const { sizeBytes, buffersMax, waitingMax, what } = options;
  const pool = createBufferPool(sizeBytes, buffersMax);
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
      const buffer = pool.take();
      let isLent = true;
      return {
        buffer,
        signal: place.signal,
        [Symbol.dispose]() {
          if (!isLent) return;
          isLent = false;
          pool.give(buffer);
          place[Symbol.dispose]();
        },
      };
    },
    get taken() {
      return shares.size;
    },
  };
}
