/** How puts and pins change what the index says of a block. Pure. */
import { KiB, type Lease } from '@shoal/protocol';
import type { BlockRecord } from './blockstore.ts';

/** Blocks above this are files; a smaller one costs less as a row (reference: data path §6). */
export const SMALL_BLOCK_SIZE_MAX_BYTES = 64 * KiB;

/** The record after a batch put the block under these leases; undefined when it need not change. */
export function recordAfterPut(
  old: BlockRecord | undefined,
  put: {
    readonly sizeBytes: number;
    readonly leases: readonly (Lease | undefined)[];
    /** False when the bytes had to be written. */
    readonly isSound: boolean;
    readonly nowMs: number;
  },
): BlockRecord | undefined {
  const [first] = put.leases;
  const only = put.leases.every((lease) => lease === first) ? first : undefined;
  const lease = old === undefined || old.lease === only ? only : undefined;
  if (old !== undefined && put.isSound) return old.lease === lease ? undefined : { ...old, lease };
  return {
    sizeBytes: put.sizeBytes,
    place: put.sizeBytes <= SMALL_BLOCK_SIZE_MAX_BYTES ? 'lmdb' : 'file',
    writtenAtMs: put.nowMs,
    keep: old?.keep ?? 0,
    isNode: old?.isNode ?? false,
    lease,
  };
}

/** The record after a pin of `replicas` reached the block; undefined when it need not change. */
export function recordAfterKeep(
  old: BlockRecord,
  { isNode, replicas }: { readonly isNode: boolean; readonly replicas: number },
): BlockRecord | undefined {
  const isReached = old.keep >= replicas && (old.isNode || !isNode);
  if (isReached && old.lease === undefined) return undefined;
  return {
    ...old,
    keep: Math.max(old.keep, replicas),
    isNode: old.isNode || isNode,
    lease: undefined,
  };
}
