/**
 * The interface of a store of blocks; disk-blockstore.ts is the one implementation. A block is
 * named by its digest here: CIDs of several codecs may be names of the same bytes.
 */
import type { ByteRange } from '@shoal/blocks';
import type { Lease, StorageStats } from '@shoal/protocol';
import type {
  BlockBytes,
  BlockCounts,
  BlockRecord,
  BlockRow,
  CheckState,
  Digest,
} from '../disk/block-record.ts';
import type { Taker } from '../disk/buffers.ts';
import type { RoomWish } from '../disk/room.ts';
import type { Census } from './census.ts';
import type { DigestMarks } from '../index/digest-marks.ts';
import type { LeaseEnd } from './operations/end-lease.ts';
import type { Judgement } from './operations/judge.ts';
import type { DagBlock } from './operations/mark.ts';
import type { PutWishes } from './operations/put.ts';
import type { BlockParts } from './operations/read.ts';
import type { Losses } from './state/losses.ts';

export interface Blockstore extends AsyncDisposable {
  /**
   * Keeps a block whose hash the caller has computed; once resolved it survives a power cut. The
   * bytes may be reused then. `isNew` is false when it was held already. A put without a lease is a
   * repair, and may use the room that is reserved for those, unless it yields.
   * @throws StorageFull; RequestInvalid when the lease was given up.
   */
  put(
    digest: Digest,
    bytes: Uint8Array,
    lease: Lease | undefined,
    wishes?: PutWishes,
  ): Promise<{ readonly isNew: boolean }>;
  /** The record of a block, retired or condemned or neither; undefined for a damaged one. */
  find(digest: Digest): BlockRecord | undefined;
  /** The same of a block that is not about to go either: only those count as copies. */
  findConfirmed(digest: Digest): BlockRecord | undefined;
  /** True when a pin or a finished upload needs a block: an unfinished one may fail, and take it along. */
  isForGood(digest: Digest): boolean;
  /** The bytes; undefined when they are absent, or turn out not to be all there (then set aside). @throws Overloaded */
  read(digest: Digest, taker?: Taker): Promise<BlockBytes | undefined>;
  /** Some ranges of the bytes, chosen by the size; undefined as for `read`. */
  readRanges(
    digest: Digest,
    choose: (sizeBytes: number) => readonly ByteRange[],
  ): Promise<BlockParts | undefined>;
  /** Size if the bytes seem to be there: the cheap half of `read`. */
  probe(digest: Digest): Promise<number | undefined>;
  /** Re-hashes a block; a corrupt one is set aside. @throws Overloaded */
  check(digest: Digest): Promise<CheckState>;
  /** The same in the caller's own buffer, of the block's size at least: waits for no reader. */
  checkIn(digest: Digest, buffer: Uint8Array): Promise<CheckState>;
  /** Makes durable which blocks were found sound, as far as that is not done yet. */
  flushChecks(): Promise<void>;
  /** Puts held blocks under a lease; answers which are held. @throws RequestInvalid when the lease was given up. */
  join(lease: Lease, digests: readonly Digest[]): Promise<boolean[]>;
  /** Ends a lease; answers how many blocks were deleted. */
  endLease(lease: Lease, end: LeaseEnd): Promise<number>;
  /** Notes that a pin with this many replicas reached the blocks; answers how many of them are held. */
  mark(blocks: readonly DagBlock[], replicas: number): Promise<number>;
  /** Until disposed, what is marked here is marked there as well. */
  watchMarks(marks: DigestMarks): Disposable;
  /** Stops confirming blocks that are surplus to a pin of `replicas`; answers which it did. */
  retire(blocks: readonly DagBlock[], replicas: number): Promise<boolean[]>;
  unretire(digests: readonly Digest[]): Promise<void>;
  /** Deletes those that are still retired; answers how many. */
  drop(digests: readonly Digest[]): Promise<number>;
  /** The next rows in the order of digests, those of damaged blocks too. */
  scan(after: Digest | undefined, limit: number): readonly BlockRow[];
  /** Calls back whenever a block was set aside. */
  onDamaged(act: () => void): void;
  /**
   * One slice of a round of the sweep: condemns, deletes and un-condemns by what the marks say.
   * Rows that the marks do not know came in later, and are left alone.
   */
  judge(
    rows: readonly BlockRow[],
    round: { readonly marks: DigestMarks; readonly graceMs: number; readonly isDryRun: boolean },
  ): Promise<readonly Judgement[]>;
  /** Figures over all records; they may be a moment old. */
  census(): Promise<Census>;
  stats(): Promise<StorageStats>;
  readonly losses: Pick<Losses, 'count' | 'changed'>;
  /** By how many bytes they would not fit; 0 or less when they do. */
  lacking(wish: RoomWish): Promise<number>;
  /** Why nothing can be written; undefined when it can. */
  whyNotWritable(): Promise<string | undefined>;
  readonly counts: BlockCounts & {
    readonly leases: number;
    readonly retired: number;
    /** Blocks found damaged and replaced since the store was opened. */
    readonly healed: number;
  };
  /** True while others read or write: what can wait should. */
  readonly isBusy: boolean;
}
