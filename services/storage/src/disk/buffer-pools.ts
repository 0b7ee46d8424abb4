/** Buffers of two sizes: one of a MiB for the usual block, and a few large ones for the rare rest. */
import { MiB } from '@shoal/protocol';
import { createSharedBuffers, type LentBuffer, type Taker } from './buffers.ts';

export interface BufferPools {
  /** A buffer of at least this size; a large one when the size is unknown. @throws Overloaded */
  take(sizeBytes: number | undefined, taker: Taker): Promise<LentBuffer>;
  readonly taken: number;
}

export function createBufferPools({
  usualMax,
  large,
  ...shared
}: {
  readonly usualMax: number;
  readonly large: { readonly sizeBytes: number; readonly buffersMax: number };
  readonly waitingMax: number;
  /** The name of those that wait, for the problem. */
  readonly what: string;
}): BufferPools {
  const usual = createSharedBuffers({ sizeBytes: MiB, buffersMax: usualMax, ...shared });
  const rare = createSharedBuffers({ ...large, ...shared });
  return {
    take: (sizeBytes = Infinity, taker) => (sizeBytes <= MiB ? usual : rare).take(taker),
    get taken() {
      return usual.taken + rare.taken;
    },
  };
}
