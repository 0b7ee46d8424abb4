/**
 * ⑨ Reassemble: blocks that arrive in any order, to bytes in the file's order.
 *
 * A window of blocks is asked for ahead of the reader and no more, so memory is bounded whatever the
 * file's size and however slow the reader. A block that is late holds the stream back but not the
 * fetching of the others in the window. The first failure ends the stream with that error: what was
 * yielded before is right, what follows was never sent.
 */
import type { DagEntry } from './dag/walk-dag.ts';

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
 * Yields the blocks of `slices` in order. Slices may come one by one, while a DAG is still being
 * walked: when that fails, those that came before are yielded first.
 * @param fetchBlock Gets one verified block; given a signal that fires when nobody waits any more.
 * @param discard Called with each fetched block that will not be yielded, so that its buffer is reused.
 */
export async function* reassemble<Wanted, Block>(
  slices: Iterable<Wanted> | AsyncIterable<Wanted>,
  {
    windowBlocks,
    fetchBlock,
    discard,
  }: {
    /** How many blocks may be asked for and not yet yielded; looked at anew for each. With 0 the next is asked for when the reader wants it. */
    readonly windowBlocks: () => number;
    readonly fetchBlock: (slice: Wanted, options: { signal: AbortSignal }) => Promise<Block>;
    readonly discard: (block: Block) => void;
  },
  { signal }: { signal: AbortSignal },
): AsyncGenerator<{ slice: Wanted; block: Block }, void, undefined> {
  const stop = new AbortController();
  const asked = AbortSignal.any([signal, stop.signal]);
  const iterator = iterate(slices);
  const window: Promise<{ slice: Wanted; block: Block }>[] = [];
  let pulling: Promise<void> | undefined;
  let isOver = false;
  let isWanted = false;

  const push = (fetched: Promise<{ slice: Wanted; block: Block }>) => {
    fetched.catch(() => {}); // a later block may fail first: its error is thrown when its turn comes
    window.push(fetched);
  };
  const take = (turn: IteratorResult<Wanted, unknown>) => {
    if (turn.done === true) isOver = true;
    if (isOver) return;
    const slice = turn.value as Wanted; // not done, so it is one
    push(fetchBlock(slice, { signal: asked }).then((block) => ({ slice, block })));
  };
  const fail = (error: unknown) => {
    isOver = true;
    push(Promise.reject(error as Error));
  };
  const fill = () => {
    while (
      !isOver &&
      pulling === undefined &&
      window.length < Math.max(isWanted ? 1 : 0, windowBlocks())
    )
      try {
        const turn = iterator.next();
        if (!(turn instanceof Promise)) take(turn);
        else
          pulling = turn.then(take, fail).then(() => {
            pulling = undefined;
            fill();
          });
      } catch (error) {
        fail(error);
      }
  };
  try {
    for (;;) {
      isWanted = true;
      fill();
      while (window.length === 0 && pulling !== undefined) await pulling;
      const head = window[0];
      if (head === undefined) return;
      const turn = await head;
      void window.shift();
      isWanted = false;
      fill();
      yield turn;
    }
  } finally {
    isOver = true;
    stop.abort(new Error('the reader left'));
    for (const fetched of window)
      fetched.then(
        ({ block }) => discard(block),
        () => {},
      );
    // Not waited for: a walk that hangs must not hold its reader.
    Promise.resolve(iterator.return?.()).catch(() => {});
  }
}

const iterate = <T>(items: Iterable<T> | AsyncIterable<T>): Iterator<T> | AsyncIterator<T> =>
  Symbol.asyncIterator in items ? items[Symbol.asyncIterator]() : items[Symbol.iterator]();
