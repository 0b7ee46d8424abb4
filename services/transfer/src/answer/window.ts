/**
 * How many blocks a download asks for ahead of its reader.
 *
 * Few when blocks come quickly: what was received is then still in the processor's cache when it is
 * hashed and sent on (4 in flight were a quarter faster than 8 on loopback, bench/README.md). More
 * when they come slowly: over a long way, a block takes round trips, and only more of them in flight
 * fill the line. All clients share one budget, and each its part among its downloads, so that memory is
 * bounded with many of them: with more downloads than blocks in the budget none asks ahead, and each has
 * the block alone that it is sending.
 */
import type { TransferConfig } from '../config.ts';

const WINDOW_MIN_BLOCKS = 4;
/** A block that takes longer than this widens the window by one: a guess between loopback and WAN. */
const SLOW_BLOCK_MS = 50;

export interface Window {
  /** Blocks to have in flight, with this many downloads to share with; 0 when there is none to spare. */
  size(downloads: number): number;
  /** Runs a fetch and learns from how long it took. */
  timed<Block>(fetch: () => Promise<Block>): Promise<Block>;
}

export function createWindow(
  config: Pick<TransferConfig, 'TRANSFER_WINDOW_BLOCKS' | 'TRANSFER_DOWNLOAD_WINDOW_BLOCKS'>,
): Window {
  let wishedBlocks = Math.min(WINDOW_MIN_BLOCKS, config.TRANSFER_DOWNLOAD_WINDOW_BLOCKS);
  return {
    size(downloads) {
      const share = Math.floor(config.TRANSFER_WINDOW_BLOCKS / Math.max(1, downloads));
      return Math.min(wishedBlocks, share);
    },
    async timed(fetch) {
      const startedAtMs = performance.now();
      const block = await fetch();
      if (performance.now() - startedAtMs > SLOW_BLOCK_MS)
        wishedBlocks = Math.min(wishedBlocks + 1, config.TRANSFER_DOWNLOAD_WINDOW_BLOCKS);
      return block;
    },
  };
}
