/**
 * How many blocks a download asks for ahead of its reader.
 *
 * Few when blocks come quickly: what was received is then still in the processor's cache when it is
 * hashed and sent on (4 in flight were a quarter faster than 8 on loopback). More
 * when they come slowly: over a long way, a block takes round trips, and only more of them in flight
 * fill the line. All clients share one budget, and each its part among its downloads, so that memory is
 * bounded with many of them: with more downloads than blocks in the budget none asks ahead, and each has
 * the block alone that it is sending.
 */
import type { Flow } from '../file/pieces.ts';

const WINDOW_MIN_BLOCKS = 4;
/** A block that takes longer than this widens the window by one: a guess between loopback and WAN. */
const SLOW_BLOCK_MS = 50;

/** @param sharers With how many downloads the budget is shared now. */
export function createWindow(
  {
    budgetBlocks,
    windowMaxBlocks,
  }: {
    /** Blocks in flight over all downloads. */
    readonly budgetBlocks: number;
    /** Blocks that a single download asks for ahead. */
    readonly windowMaxBlocks: number;
  },
  sharers: () => number,
): Flow {
  let wishedBlocks = Math.min(WINDOW_MIN_BLOCKS, windowMaxBlocks);
  return {
    windowBlocks: () => Math.min(wishedBlocks, Math.floor(budgetBlocks / Math.max(1, sharers()))),
    noteTook(durationMs) {
      if (durationMs > SLOW_BLOCK_MS) wishedBlocks = Math.min(wishedBlocks + 1, windowMaxBlocks);
    },
  };
}
