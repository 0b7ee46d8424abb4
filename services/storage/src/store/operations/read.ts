/** Reads of a block, whole or in part. One whose bytes turn out not to be all there is set aside. */
import type { ByteRange } from '@shoal/blocks';
import type { BlockBytes, BlockRecord, CheckState, Digest } from '../../disk/block-record.ts';
import { OWN, type Taker } from '../../disk/buffers.ts';
import type { BufferPools } from '../../disk/buffer-pools.ts';
import type { StoreParts } from '../state/store-parts.ts';
import { isDamage, readRow } from './inspect.ts';

export interface BlockParts {
  readonly sizeBytes: number;
  readonly parts: readonly Uint8Array[];
}

export function createRead(
  { table, files, index }: StoreParts,
  {
    pools,
    setAside,
  }: {
    readonly pools: BufferPools;
    readonly setAside: (digest: Digest) => Promise<CheckState>;
  },
) {
  /** Reads a block that is held, by `get`; if that finds nothing, the block is damaged. */
  const readHeld = async <T>(
    digest: Digest,
    get: (record: BlockRecord) => Promise<T | undefined> | T | undefined,
  ): Promise<T | undefined> => {
    const record = table.held(digest);
    if (record === undefined) return undefined;
    const found = await get(record);
    if (found === undefined) await setAside(digest);
    return found;
  };
  const fromFile = async (
    digest: Digest,
    sizeBytes: number,
    taker: Taker,
  ): Promise<BlockBytes | undefined> => {
    const pooled = await pools.take(sizeBytes, taker);
    const bytes = pooled.buffer.subarray(0, sizeBytes);
    const release = () => pooled[Symbol.dispose]();
    try {
      if ((await files.read(digest, bytes)) === sizeBytes)
        return { bytes, signal: pooled.signal, [Symbol.dispose]: release };
    } catch (error) {
      if (!isDamage(error)) {
        release();
        throw error;
      }
    }
    release();
    return undefined;
  };
  const partsFromFile = async (
    digest: Digest,
    sizeBytes: number,
    ranges: readonly ByteRange[],
  ): Promise<BlockParts | undefined> => {
    const parts = ranges.map(({ offset, length }) => ({ offset, bytes: new Uint8Array(length) }));
    try {
      if (!(await files.readParts(digest, sizeBytes, parts))) return undefined;
      return { sizeBytes, parts: parts.map(({ bytes }) => bytes) };
    } catch (error) {
      if (isDamage(error)) return undefined;
      throw error;
    }
  };

  return {
    read: (digest: Digest, taker: Taker = OWN): Promise<BlockBytes | undefined> =>
      readHeld(digest, ({ place, sizeBytes }) => {
        if (place === 'file') return fromFile(digest, sizeBytes, taker);
        const bytes = readRow(index, digest, sizeBytes);
        return bytes && { bytes, [Symbol.dispose]() {} };
      }),
    readRanges: (
      digest: Digest,
      choose: (sizeBytes: number) => readonly ByteRange[],
    ): Promise<BlockParts | undefined> =>
      readHeld(digest, ({ place, sizeBytes }) => {
        const ranges = choose(sizeBytes);
        if (place === 'file') return partsFromFile(digest, sizeBytes, ranges);
        const bytes = readRow(index, digest, sizeBytes);
        if (bytes === undefined) return undefined;
        const parts = ranges.map(({ offset, length }) => bytes.subarray(offset, offset + length));
        return { sizeBytes, parts };
      }),
  };
}
