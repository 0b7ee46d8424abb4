/**
 * The index together with what is known of it in memory: how much is held, and which blocks were
 * found damaged when not even that could be written down. Every change of a record passes through here, by a task
 * that is alone, so that the figures are always those of the index.
 */
import assert from 'node:assert';
import type { Ballast } from '../disk/ballast.ts';
import type { BlockCounts, BlockRecord, BlockRow, Digest } from '../disk/block-record.ts';
import type { BlockIndex, IndexChanges } from './block-index.ts';
import type { Exclusive } from './commit-queue.ts';

export interface BlockTable {
  /** The record, whether the block is held or damaged. */
  find(digest: Digest): BlockRecord | undefined;
  /** The record of a block that is held. */
  held(digest: Digest): BlockRecord | undefined;
  /** The next rows in the order of digests, those of damaged blocks too. */
  scan(after: Digest | undefined, limit: number): readonly BlockRow[];
  /**
   * All or nothing; durable once resolved.
   * @param isFreeing True for what makes room in the end: it may use the ballast of a full disk.
   */
  write(
    exclusive: Exclusive,
    changes: IndexChanges,
    options?: { readonly isFreeing: boolean },
  ): Promise<void>;
  /** Treats a block as damaged until its record is written again. */
  lose(exclusive: Exclusive, digest: Digest): void;
  readonly counts: BlockCounts;
}

/**
 * @param visit Called with every row once, on the way: a second pass over a large index takes seconds.
 * @param onLoss Called with the number of blocks that counted as copies before a change and don't after it.
 */
export function createBlockTable(
  index: BlockIndex,
  ballast: Ballast,
  visit: (row: BlockRow) => void,
  onLoss: (blocks: number) => void = () => {},
): BlockTable {
  let counts = { blocks: 0, usedBytes: 0, damaged: 0, condemned: 0 };
  const lost = new Set<Digest>();

  for (const row of index.all()) {
    tally(counts, row[1], 1);
    visit(row);
  }

  const asKnown = (digest: Digest, record: BlockRecord): BlockRecord =>
    lost.has(digest) ? { ...record, isDamaged: true } : record;
  const find = (digest: Digest): BlockRecord | undefined => {
    const record = index.find(digest);
    return record === undefined ? undefined : asKnown(digest, record);
  };
  return {
    find,
    held(digest) {
      const record = find(digest);
      return record?.isDamaged === true ? undefined : record;
    },
    scan: (after, limit) =>
      index.scan(after, limit).map(([digest, record]) => [digest, asKnown(digest, record)]),
    async write(exclusive, changes, { isFreeing } = { isFreeing: false }) {
      exclusive.assertHeld();
      const { remove = [], put = [] } = changes;
      const after = new Map(put.map(({ digest, record }) => [digest, record])); // the last one counts
      const digests = new Set([...remove, ...after.keys()]);
      if (digests.size === 0) return; // or it would be a sync for nothing
      const before = [...digests].map((digest) => index.find(digest));
      // Before the write: one that is durable can't be taken back when the figures turn out wrong.
      const next = { ...counts };
      for (const record of before) tally(next, record, -1);
      for (const record of after.values()) tally(next, record, 1);
      assert(
        Object.values(next).every((figure) => figure >= 0),
        'no figure over all blocks is negative',
      );
      try {
        await index.write(changes);
      } catch (error) {
        if (!isFreeing || !(await ballast.release())) throw error;
        await index.write(changes);
      }
      counts = next;
      // Each of them was removed or put: one that is not put is gone.
      const gone = [...digests].filter(
        (digest, at) => isCopy(before[at]) && !lost.has(digest) && !isCopy(after.get(digest)),
      );
      for (const digest of digests) lost.delete(digest);
      onLoss(gone.length);
    },
    lose(exclusive, digest) {
      exclusive.assertHeld();
      lost.add(digest);
      onLoss(1);
    },
    get counts() {
      return counts;
    },
  };
}

/** Whether others count a block by what its record says; one that is about to go is no copy. */
const isCopy = (record: BlockRecord | undefined): boolean =>
  record !== undefined && !record.isDamaged && record.condemnedAtMs === 0;

function tally(
  counts: { -readonly [Figure in keyof BlockCounts]: BlockCounts[Figure] },
  record: BlockRecord | undefined,
  by: 1 | -1,
): void {
  if (record === undefined) return;
  if (record.condemnedAtMs > 0) counts.condemned += by;
  if (record.isDamaged) {
    counts.damaged += by;
    return;
  }
  counts.blocks += by;
  counts.usedBytes += by * record.sizeBytes;
}
