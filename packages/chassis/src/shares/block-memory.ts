/** Blocks that were read a moment ago, up to a bound on their bytes. */
import type { Cid } from '@shoal/protocol';

export interface BlockMemory {
  readonly recall: (cid: Cid) => Uint8Array | undefined;
  /** Keeps bytes that nobody changes any more. */
  readonly remember: (cid: Cid, bytes: Uint8Array) => void;
}

/** The least recently used goes first. */
export function createBlockMemory(sizeMaxBytes: number): BlockMemory {
  const blocks = new Map<Cid, Uint8Array>();
  let sizeBytes = 0;
  return {
    recall(cid) {
      const bytes = blocks.get(cid);
      if (bytes === undefined) return undefined;
      blocks.delete(cid); // back to the end
      blocks.set(cid, bytes);
      return bytes;
    },
    remember(cid, bytes) {
      if (blocks.has(cid)) return;
      blocks.set(cid, bytes);
      sizeBytes += bytes.length;
      for (const [oldest, { length }] of blocks) {
        if (sizeBytes <= sizeMaxBytes) break;
        blocks.delete(oldest);
        sizeBytes -= length;
      }
    },
  };
}
