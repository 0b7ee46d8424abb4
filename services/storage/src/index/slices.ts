import { setImmediate as nextTurn } from 'node:timers/promises';
import type { BlockRow, Digest } from '../disk/block-record.ts';
import type { Blockstore } from './blockstore.ts';
import { SLICE_BLOCKS } from './parts.ts';

/** Goes over all rows in the order of digests, a slice and a turn of the event loop at a time. */
export async function eachSlice(
  store: Pick<Blockstore, 'scan'>,
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
