/** How a lease ends: its upload succeeded, and its blocks stay; or it failed, and takes along what only it held. */
import assert from 'node:assert';
import type { Lease } from '@shoal/protocol';
import { slicesOf } from '../../index/slices.ts';
import type { OperationParts } from '../state/store-parts.ts';
import { change } from './change.ts';
import { dropRetired } from './retire.ts';

export type LeaseEnd = 'completed' | 'given-up';

/** Answers how many blocks were deleted. */
export function createEndLease(parts: OperationParts) {
  const { table, leases, retired, alone } = parts;
  const complete = (lease: Lease): Promise<void> =>
    change(parts, (exclusive) => {
      const put = leases.complete(exclusive, lease).flatMap((digest) => {
        const record = table.find(digest);
        assert(record !== undefined, 'a block under a lease has a record');
        if (record.lease === undefined) return [];
        return [{ digest, record: { ...record, lease: undefined } }];
      });
      return table.write(exclusive, { put }, { isFreeing: true });
    });
  const giveUp = async (lease: Lease): Promise<number> => {
    const orphans = await alone((exclusive) => {
      const digests = leases.giveUp(exclusive, lease);
      for (const digest of digests) retired.add(exclusive, digest);
      return digests;
    });
    let deletedBlocks = 0;
    for (const slice of slicesOf(orphans))
      deletedBlocks += await dropRetired(parts, slice, 'given-up');
    return deletedBlocks;
  };
  return async (lease: Lease, end: LeaseEnd): Promise<number> => {
    if (end === 'given-up') return giveUp(lease);
    await complete(lease);
    return 0;
  };
}
