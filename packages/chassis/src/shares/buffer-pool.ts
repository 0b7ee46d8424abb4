/**
 * Buffers that are used again. A new MiB for every block costs more than filling it: the garbage
 * collector, and pages that are touched for the first time.
 */

export interface BufferPool {
  /** A buffer of the pool's size; with its old content. */
  take(): Buffer;
  /** Gives a buffer back. The caller must not touch it again. */
  give(buffer: Buffer): void;
}

/** @param keptMax Idle buffers that are kept; the rest is left to the garbage collector. */
export function createBufferPool(sizeBytes: number, keptMax: number): BufferPool {
  const idle: Buffer[] = [];
  return {
    take: () => idle.pop() ?? Buffer.allocUnsafeSlow(sizeBytes),
    give(buffer) {
      if (idle.length < keptMax) idle.push(buffer);
    },
  };
}
