/**
 * Dropping a surplus copy in two halves, so that two peers never drop the last two copies because
 * each saw the other's: a retired block is confirmed to nobody, so it counts as a copy nowhere;
 * only then are the others asked, and only a block that is still retired is deleted.
 * Retirement is in memory: a restart takes it back, which is the safe side.
 */
import assert from 'node:assert';
import type { BlockRecord, Digest } from '../../disk/block-record.ts';
import type { OperationParts } from '../state/store-parts.ts';
import type { DagBlock } from './mark.ts';
import { type RemovalReason, removeBlocks } from './remove.ts';

export function createRetire(parts: OperationParts) {
  const { table, leases, retired, losses, alone } = parts;
  return {
    /** Stops confirming blocks that are surplus to a pin of `replicas`; answers which it did. */
    retire: (blocks: readonly DagBlock[], replicas: number): Promise<boolean[]> =>
      alone((exclusive) =>
        blocks.map(({ digest, isNode }) => {
          const record = table.held(digest);
          if (record === undefined) return false;
          const isLeased = leases.isHeld(digest);
          if (!mayRetire(record, { isLeased, isNode, replicas })) return false;
          retired.add(exclusive, digest);
          losses.note();
          return true;
        }),
      ),
    unretire: (digests: readonly Digest[]): Promise<void> =>
      alone((exclusive) => {
        for (const digest of digests) retired.delete(exclusive, digest);
      }),
    /** Deletes those that are still retired; answers how many. */
    drop: (digests: readonly Digest[]): Promise<number> => dropRetired(parts, digests, 'dropped'),
  };
}

/** True when a block that is surplus to a pin of `replicas` may be retired. */
export function mayRetire(
  record: Pick<BlockRecord, 'replicas' | 'isNode'>,
  facts: { readonly isLeased: boolean; readonly isNode: boolean; readonly replicas: number },
): boolean {
  if (facts.isLeased) return false;
  if (record.replicas > facts.replicas) return false;
  const isMarkedNode = record.replicas > 0 && (record.isNode || facts.isNode);
  return !isMarkedNode; // losing a manifest loses the file: every member keeps them all
}

/** Deletes those blocks that are retired when its turn comes; answers how many. */
export function dropRetired(
  parts: OperationParts,
  digests: readonly Digest[],
  reason: RemovalReason,
): Promise<number> {
  const { leases, retired, alone } = parts;
  return alone((exclusive) => {
    const going = digests.filter((digest) => retired.has(digest));
    for (const digest of going)
      assert(!leases.isHeld(digest), 'an upload that begins to hold a block takes it back');
    return removeBlocks(parts, exclusive, going, reason);
  });
}
