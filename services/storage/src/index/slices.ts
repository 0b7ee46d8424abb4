/**
 * Long work cut into slices: a task that changes many rows does so in several transactions, and one that looks at
 * every row takes them some at a time, so that puts and requests get their turn in between.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { BlockRow, Digest } from '../disk/block-record.ts';
import type { BlockTable } from './block-table.ts';

/** Rows in a slice: a transaction of that size takes some milliseconds. */
export const SLICE_BLOCKS = 512;

/** Cuts a list into slices. */
export function* slicesOf<T>(items: readonly T[]): Generator<readonly T[]> {
  for (let at = 0; at < items.length; at += SLICE_BLOCKS) yield items.slice(at, at + SLICE_BLOCKS);
}

/** Visits all rows in the order of digests, a slice and a turn of the event loop at a time. */
export async function eachSlice(
  store: Pick<BlockTable, 'scan'>,
  { signal }: { signal: AbortSignal },
  visit: (rows: readonly BlockRow[]) => Promise<void> | void,
): Promise<void> {
  for (let after: Digest | undefined; ;) {
    const rows = store.scan(after, SLICE_BLOCKS);
    if (rows.length > 0) await visit(rows);
    if (rows.length < SLICE_BLOCKS) return;
    after = rows.at(-1)?.[0];
    await nextTurn();
    signal.throwIfAborted();
  }
}
