/**
 * A pin marks the blocks of its DAG with the replicas that it asks for: the mark says that more than uploads needs
 * a block, and keeps it from being retired for a pin that asks for fewer. The marks of a store are a memory of
 * pins; only the sweep, which reads all pins anew, lowers them.
 */
import assert from 'node:assert';
import type { BlockRecord, Digest } from '../../disk/block-record.ts';
import type { Exclusive } from '../../index/commit-queue.ts';
import type { DigestMarks } from '../../index/digest-marks.ts';
import { recordAfterMark } from '../../index/records.ts';
import { slicesOf } from '../../index/slices.ts';
import type { OperationParts } from '../state/store-parts.ts';
import { change } from './change.ts';

/** A block of a DAG; a node of its manifest stays everywhere. */
export interface DagBlock {
  readonly digest: Digest;
  readonly isNode: boolean;
}

export function createMark(parts: OperationParts) {
  const { table, leases, retired } = parts;
  const watching = new Set<DigestMarks>();

  const markSlice = async (
    exclusive: Exclusive,
    slice: readonly DagBlock[],
    replicas: number,
  ): Promise<number> => {
    for (const marks of watching)
      for (const { digest, isNode } of slice) marks.mark(digest, { replicas, isNode });
    const marked = new Map<Digest, BlockRecord>();
    let heldBlocks = 0;
    for (const { digest, isNode } of slice) {
      const old = marked.get(digest) ?? table.find(digest);
      if (old === undefined) continue;
      const record = recordAfterMark(old, { isNode, replicas });
      if (record !== undefined) marked.set(digest, record);
      if (!old.isDamaged) heldBlocks += 1;
    }
    await table.write(exclusive, {
      put: [...marked].map(([digest, record]) => ({ digest, record })),
    });
    for (const { digest } of slice) leases.makePermanent(exclusive, digest);
    for (const [digest, record] of marked) {
      assert(record.replicas >= replicas && record.lease === undefined, 'a mark holds for good');
      retired.delete(exclusive, digest); // wanted more than when it was retired
    }
    return heldBlocks;
  };

  return {
    /** Answers how many of the blocks are held. */
    async mark(blocks: readonly DagBlock[], replicas: number): Promise<number> {
      let heldBlocks = 0;
      for (const slice of slicesOf(blocks))
        heldBlocks += await change(parts, (exclusive) => markSlice(exclusive, slice, replicas));
      return heldBlocks;
    },
    /** Until disposed, what is marked here is marked there as well. */
    watchMarks(marks: DigestMarks): Disposable {
      watching.add(marks);
      return { [Symbol.dispose]: () => void watching.delete(marks) };
    },
  };
}
