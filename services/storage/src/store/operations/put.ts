/**
 * A put takes room, writes the draft of a large block ahead of its turn, and joins the next batch: so bytes are
 * written while another batch is being made durable, and a batch only syncs and renames.
 */
import assert from 'node:assert';
import { BLOCK_SIZE_MAX_BYTES, type Lease, Problem, StorageFull } from '@shoal/protocol';
import type { Digest } from '../../disk/block-record.ts';
import type { CommitQueue } from '../../index/commit-queue.ts';
import { SMALL_BLOCK_SIZE_MAX_BYTES } from '../../index/records.ts';
import { leaseGivenUp } from '../state/leases.ts';
import type { StoreParts } from '../state/store-parts.ts';
import type { Put, PutResult } from './commit-puts.ts';

/** How a block is put. */
export interface PutWishes {
  /** It takes room from nothing else. */
  readonly isYielding?: boolean;
  /**
   * Replicas of a pin that is about to reach the block: it is marked with them in the same transaction. Without a
   * lease it is an upload's all the same, and none of a repair.
   */
  readonly replicas?: number | undefined;
}

export interface PutBlock {
  put(
    digest: Digest,
    bytes: Uint8Array,
    lease: Lease | undefined,
    wishes?: PutWishes,
  ): Promise<PutResult>;
  /** Why the last put failed, when that was the disk's fault; undefined once one has succeeded since. */
  readonly failure: string | undefined;
}

export function createPut(
  { table, files, room, leases, metrics }: StoreParts,
  queue: Pick<CommitQueue<Put, PutResult>, 'add'>,
): PutBlock {
  let failure: string | undefined;
  return {
    async put(digest, bytes, lease, { isYielding = false, replicas } = {}) {
      assert(bytes.length <= BLOCK_SIZE_MAX_BYTES, 'a block is measured before it is put');
      if (lease !== undefined && leases.isGivenUp(lease)) throw leaseGivenUp(lease);
      const isHeld = table.held(digest) !== undefined;
      const isRepair = lease === undefined && replicas === undefined && !isYielding;
      try {
        using _room = isHeld ? undefined : await room.take(bytes.length, { isRepair });
        const isLarge = bytes.length > SMALL_BLOCK_SIZE_MAX_BYTES;
        const draft = isLarge && !isHeld ? await files.draft(digest, bytes) : undefined;
        const result = await queue.add({ digest, bytes, lease, replicas: replicas ?? 0, draft });
        failure = undefined;
        metrics.blocksWritten.inc({ outcome: result.isNew ? 'new' : 'held' });
        if (result.isNew) metrics.bytesWritten.inc(bytes.length);
        return result;
      } catch (error) {
        const problem = await room.explain(error, bytes.length);
        const isFull = problem instanceof StorageFull;
        metrics.blocksWritten.inc({ outcome: isFull ? 'full' : 'failed' });
        if (!(problem instanceof Problem)) failure = 'the last write failed; see the log';
        throw problem;
      }
    },
    get failure() {
      return failure;
    },
  };
}
