/** Buffers for reads: one of a MiB for the usual block, and a few for the rare one that is larger. */
import { BLOCK_SIZE_MAX_BYTES, MiB } from '@shoal/protocol';
import { createBufferPool, type PooledBuffer, type Taker } from './buffers.ts';

const LARGE_READS_MAX = 4;

export interface ReadPools {
  /** A buffer of at least this size. @throws Overloaded */
  take(sizeBytes: number, taker: Taker): Promise<PooledBuffer>;
  readonly taken: number;
}

export function createReadPools({
  readsMax,
  waitingMax,
}: {
  readonly readsMax: number;
  readonly waitingMax: number;
}): ReadPools {
  const what = 'block reads in flight';
  const usual = createBufferPool({ sizeBytes: MiB, buffersMax: readsMax, waitingMax, what });
  const large = createBufferPool({
    sizeBytes: BLOCK_SIZE_MAX_BYTES,
    buffersMax: LARGE_READS_MAX,
    waitingMax,
    what,
  });
  return {
    take: (sizeBytes, taker) => (sizeBytes <= MiB ? usual : large).take(taker),
    get taken() {
      return usual.taken + large.taken;
    },
  };
}
