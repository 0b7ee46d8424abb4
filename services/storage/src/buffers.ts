/**
 * Buffers that are used again. A fresh MiB for every block would keep the garbage collector busier
 * than the hash; a bound on the buffers is at the same time the bound on bodies in flight.
 */
import { Overloaded } from '@shoal/protocol';

export interface PooledBuffer extends Disposable {
  readonly buffer: Uint8Array;
}

export interface BufferPool {
  /** A buffer, as soon as one is free. @throws Overloaded when too many wait already. */
  take(): Promise<PooledBuffer>;
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
  const waiting: ((buffer: Uint8Array) => void)[] = [];
  let taken = 0;

  const give = (buffer: Uint8Array): void => {
    const next = waiting.shift();
    if (next !== undefined) return next(buffer);
    taken -= 1;
    free.push(buffer);
  };
  const lend = (buffer: Uint8Array): PooledBuffer => {
    let isLent = true;
    return {
      buffer,
      [Symbol.dispose]() {
        if (isLent) give(buffer);
        isLent = false;
      },
    };
  };
  return {
    async take() {
      if (taken < buffersMax) {
        taken += 1;
        return lend(free.pop() ?? Buffer.allocUnsafeSlow(sizeBytes));
      }
      if (waiting.length >= waitingMax) throw new Overloaded({ what, limit: buffersMax });
      return lend(await new Promise<Uint8Array>((resolve) => waiting.push(resolve)));
    },
    get taken() {
      return taken;
    },
  };
}
