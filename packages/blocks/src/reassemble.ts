/**
 * ⑨ Reassemble: blocks that arrive in any order, to bytes in the file's order.
 *
 * A window of blocks is asked for ahead of the reader and no more, so memory is bounded whatever the
 * file's size and however slow the reader. A block that is late holds the stream back but not the
 * fetching of the others in the window. The first failure ends the stream with that error: what was
 * yielded before is right, what follows was never sent.
 */
import type { DagEntry } from './walk-dag.ts';

/** The part of one block that a reader wants: of its file bytes, `from` (included) to `to` (excluded). */
export interface Slice {
  readonly entry: DagEntry;
  /** Position of the block's bit in a have-map of its DAG; undefined when that was not listed. */
  readonly index: number | undefined;
  readonly from: number;
  readonly to: number;
}

/** The blocks that hold bytes `start` to `end` (both included, as in HTTP) of a file. */
export function slicesOf(
  entries: readonly DagEntry[],
  { start, end }: { readonly start: number; readonly end: number },
): Slice[] {
  return entries.flatMap((entry, index) => {
    const from = Math.max(0, start - entry.offset);
    const to = Math.min(entry.sizeBytes, end + 1 - entry.offset);
    return from < to ? [{ entry, index, from, to }] : [];
  });
}

/**
 * Yields the blocks of `slices` in order.
 * @param fetchBlock Gets one verified block; given a signal that fires when nobody waits any more.
 * @param discard Told of each fetched block that will not be yielded, so that its buffer is reused.
 */
export async function* reassemble<Block>(
  slices: readonly Slice[],
  {
    windowBlocks,
    fetchBlock,
    discard,
  }: {
    /** How many blocks may be asked for and not yet yielded; looked at anew for each. At least 1. */
    readonly windowBlocks: () => number;
    readonly fetchBlock: (slice: Slice, options: { signal: AbortSignal }) => Promise<Block>;
    readonly discard: (block: Block) => void;
  },
  { signal }: { signal: AbortSignal },
): AsyncGenerator<{ slice: Slice; block: Block }, void, undefined> {
  const stop = new AbortController();
  const asked = AbortSignal.any([signal, stop.signal]);
  const window: Promise<Block>[] = [];
  let next = 0;
  const ask = () => {
    const slice = slices[next];
    if (slice === undefined) return;
    next += 1;
    const block = fetchBlock(slice, { signal: asked });
    block.catch(() => {}); // a later block may fail first: its error is thrown when its turn comes
    window.push(block);
  };
  const fill = () => {
    while (window.length < windowBlocks() && next < slices.length) ask();
  };
  try {
    for (const slice of slices) {
      fill();
      const head = window[0];
      if (head === undefined) return;
      const block = await head;
      void window.shift();
      fill();
      yield { slice, block };
    }
  } finally {
    stop.abort(new Error('the reader left'));
    for (const block of window) block.then(discard, () => {});
  }
}
