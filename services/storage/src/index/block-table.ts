/**
 * The index together with what is known of it in memory: how much is held, and which blocks were
 * found damaged when not even that could be written down. Everything that changes a record does it
 * here, with the store to itself, so that the figures are always those of the index.
 */
import type { Ballast } from '../disk/ballast.ts';
import type { BlockIndex, IndexChanges } from './block-index.ts';
import type { BlockCounts, BlockRecord, BlockRow, Digest } from '../disk/block-record.ts';

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
  write(changes: IndexChanges, options?: { readonly isFreeing: boolean }): Promise<void>;
  /** Treats a block as damaged until its record is written again. */
  lose(digest: Digest): void;
  readonly counts: BlockCounts;
}

/** @param visit Is given every row once, on the way: a second pass over a large index takes seconds. */
export function createBlockTable(
  index: BlockIndex,
  ballast: Ballast,
  visit: (row: BlockRow) => void,
): BlockTable {
  const counts = { blocks: 0, usedBytes: 0, damaged: 0, condemned: 0 };
  const lost = new Set<Digest>();

  const count = (record: BlockRecord | undefined, by: 1 | -1): void => {
    if (record === undefined) return;
    if (record.condemnedAtMs > 0) counts.condemned += by;
    if (record.isDamaged) {
      counts.damaged += by;
      return;
    }
    counts.blocks += by;
    counts.usedBytes += by * record.sizeBytes;
  };
  for (const row of index.all()) {
    count(row[1], 1);
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
    async write(changes, { isFreeing } = { isFreeing: false }) {
      const { remove = [], put = [] } = changes;
      const after = new Map(put.map(({ digest, record }) => [digest, record])); // the last one counts
      const digests = new Set([...remove, ...after.keys()]);
      const before = [...digests].map((digest) => index.find(digest));
      try {
        await index.write(changes);
      } catch (error) {
        if (!isFreeing || !(await ballast.release())) throw error;
        await index.write(changes);
      }
      for (const record of before) count(record, -1);
      for (const record of after.values()) count(record, 1);
      for (const digest of digests) lost.delete(digest);
    },
    lose: (digest) => void lost.add(digest),
    counts,
  };
}
