/** The types of a block: its digest, its row in the index, its bytes, and figures over all. */
import { cidOf, digestOf } from '@shoal/blocks';
import type { Cid, Lease } from '@shoal/protocol';
import * as z from 'zod';

/** A block's sha-256 in lower-case hex: blocks are indexed by it, since CIDs of several codecs may name one block. */
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

/** A block in the index. */
export interface BlockRecord {
  readonly sizeBytes: number;
  /** Large blocks are files; small ones are in LMDB beside the index. */
  readonly place: 'file' | 'lmdb';
  /** When it was last put, or joined by an upload: the sweep spares it for a while from then on. */
  readonly writtenAtMs: number;
  /** When its bytes were last known to be good: written, or re-hashed. */
  readonly checkedAtMs: number;
  /** Since when the sweep means to delete it, because no pin reaches it; 0 when it does not. */
  readonly condemnedAtMs: number;
  /** True when its bytes are wrong or gone: it is not held until they are put again. */
  readonly isDamaged: boolean;
  /** Most replicas that a pin asked for when it marked the block; 0 when none has. */
  readonly replicas: number;
  /** True once a pin reached it as a manifest node: those stay everywhere. */
  readonly isNode: boolean;
  /** The only upload that wanted it so far: when that upload fails, the block goes too. */
  readonly lease: Lease | undefined;
}

/** A block's bytes, perhaps in a pooled buffer: they are the reader's until it disposes of them. */
export interface BlockBytes extends Disposable {
  readonly bytes: Uint8Array;
  /** Fires when another reader needs the buffer more: this one then gives it back. */
  readonly signal?: AbortSignal;
}

/** A row of the index. */
export type BlockRow = readonly [Digest, BlockRecord];

/** The result of a second look at a block's bytes. */
export type CheckState = 'sound' | 'corrupt' | 'absent';

/** Figures over all blocks; damaged ones are counted only as such. */
export interface BlockCounts {
  readonly blocks: number;
  readonly usedBytes: number;
  readonly damaged: number;
  readonly condemned: number;
}
