/** Blocks that were read a moment ago, up to a bound on their bytes. */
import type { Cid } from '@shoal/protocol';
import { RecentMap } from './recent-map.ts';

export interface BlockMemory {
  readonly recall: (cid: Cid) => Uint8Array | undefined;
  /** Keeps bytes that nobody changes any more. */
  readonly remember: (cid: Cid, bytes: Uint8Array) => void;
}

/** The least recently used goes first. */
export function createBlockMemory(sizeMaxBytes: number): BlockMemory {
  const blocks = new RecentMap<Cid, Uint8Array>({
    max: sizeMaxBytes,
    weightOf: ({ length }) => length,
  });
  return {
    recall: (cid) => blocks.get(cid),
    remember(cid, bytes) {
      if (!blocks.has(cid)) blocks.set(cid, bytes);
    },
  };
}
