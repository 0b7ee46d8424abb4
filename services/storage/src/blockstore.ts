import { cidOf, digestOf } from '@shoal/blocks';
import type { Cid, Lease, StorageStats } from '@shoal/protocol';
import * as z from 'zod';

/** A block's sha-256 in lower-case hex: blocks are indexed by it, whatever codec a CID reads them by. */
export const Digest = z
  .string()
  .regex(/^[0-9a-f]{64}$/)
  .brand('Digest');
export type Digest = z.infer<typeof Digest>;

/** The digest that a CID carries; a CID is checked where it enters, so the shape is certain. */
export const digestOfCid = (cid: Cid): Digest =>
  Buffer.from(digestOf(cid)).toString('hex') as Digest;
/** The digest of the hash just made. */
export const digestOfHash = (hash: Uint8Array): Digest =>
  Buffer.from(hash).toString('hex') as Digest;
/** Some CID of the block, for messages: the raw one. */
export const cidOfDigest = (digest: Digest): Cid => cidOf('raw', Buffer.from(digest, 'hex'));

/** What the index says of a block. */
export interface BlockRecord {
  readonly sizeBytes: number;
  /** Large blocks are files; small ones lie in LMDB beside the index. */
  readonly place: 'file' | 'lmdb';
  readonly writtenAtMs: number;
  /** Highest replicas of a pin that reached it; 0 when none did. */
  readonly keep: number;
  /** True once a pin reached it as a manifest node: those stay everywhere. */
  readonly isNode: boolean;
  /** The only upload that wanted it so far: when that upload fails, the block goes too. */
  readonly lease: Lease | undefined;
}

/** A block's bytes, perhaps in a pooled buffer: they are the reader's until `release`. */
export interface BlockBytes extends Disposable {
  readonly bytes: Uint8Array;
}

export interface Blockstore extends AsyncDisposable {
  /**
   * Keeps a block whose hash the caller has computed; once resolved it survives a power cut. The
   * bytes may be reused then. `isNew` is false when it was held already.
   * @throws StorageFull; RequestInvalid when the lease was given up.
   */
  put(
    digest: Digest,
    bytes: Uint8Array,
    lease: Lease | undefined,
  ): Promise<{ readonly isNew: boolean }>;
  /** What is held of a block, retired or not. */
  find(digest: Digest): BlockRecord | undefined;
  /** True when the block is held durably and is not about to be dropped. */
  isConfirmed(digest: Digest): boolean;
  /** The bytes; undefined when they are absent, or turn out not to be all there (then set aside). @throws Overloaded */
  read(digest: Digest): Promise<BlockBytes | undefined>;
  /** Size if the bytes seem to be there: the cheap half of `read`. */
  probe(digest: Digest): Promise<number | undefined>;
  /** Re-hashes a block; a corrupt one is set aside. */
  check(digest: Digest): Promise<'sound' | 'corrupt' | 'absent'>;
  /** Puts held blocks under a lease; tells which are held. @throws RequestInvalid when the lease was given up. */
  join(lease: Lease, digests: readonly Digest[]): Promise<boolean[]>;
  /** Ends a lease; answers how many blocks were deleted. */
  endLease(lease: Lease, keep: boolean): Promise<number>;
  /** Notes that a pin with this many replicas reached the blocks; answers how many of them are held. */
  keep(
    entries: readonly { readonly digest: Digest; readonly isNode: boolean }[],
    replicas: number,
  ): Promise<number>;
  /** Stops confirming blocks; tells which it did. */
  retire(
    entries: readonly { readonly digest: Digest; readonly isNode: boolean }[],
    replicas: number,
  ): Promise<boolean[]>;
  unretire(digests: readonly Digest[]): Promise<void>;
  /** Deletes those that are still retired; answers how many. */
  drop(digests: readonly Digest[]): Promise<number>;
  stats(): Promise<StorageStats>;
  /** Why nothing can be written; undefined when it can. */
  whyNotWritable(): Promise<string | undefined>;
  readonly counts: { readonly leases: number; readonly retired: number };
}
