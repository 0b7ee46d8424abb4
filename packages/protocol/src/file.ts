import * as z from 'zod';
import { Origin } from './bounded.ts';
import { Cid, PeerId, Sha256 } from './cid.ts';
import { HaveMap } from './have-map.ts';

/**
 * The kind of a root. `file`: a UnixFS file in any layout. `directory`: a UnixFS directory, flat or HAMT.
 * `dag`: any other DAG of raw and dag-pb blocks.
 */
export const DagKind = z.enum(['file', 'directory', 'dag']);
export type DagKind = z.infer<typeof DagKind>;

/**
 * The state of a file. `receiving`: still coming in. `safe`: every block has the copies asked for. The
 * rest have fewer: `spreading` is new, and its copies are being made; `reduced` lost some, with a peer
 * that is away or gone, or that could not prove its copies; `limited` has one at every peer that can take one now;
 * `at-risk` is none of these. `missing`: no peer that is up or expected back has some block. `unknown`: a peer that is up did not
 * answer, so the number is that of its date.
 */
export const FileState = z.enum([
  'receiving',
  'spreading',
  'safe',
  'reduced',
  'limited',
  'at-risk',
  'missing',
  'unknown',
]);
export type FileState = z.infer<typeof FileState>;

/** Peers named in one cause; of more only the count is right. Past it: the others are only counted. */
export const CAUSE_PEERS_MAX = 16;
const causePeers = { peers: z.array(PeerId).max(CAUSE_PEERS_MAX), count: z.int().positive() };

/**
 * Why a file has fewer copies than it asks for, or why that is unknown. `new`: uploaded or changed a
 * moment ago. `away`: these peers are down; from `repairFromMs`, by the answering peer's wall clock, new
 * copies are made if one of them stays away. `gone`: these stayed away, and new copies are being made.
 * `unproved`: these said that they hold copies and could not prove it. `few-peers`: it asks for more copies
 * than there are peers that can take one now; one that is away or full can't. `unanswered`: these are up, and did not answer. `joining`: the peer that answers was
 * started a moment ago, and has not heard from the others yet. `aside`: it keeps out of the swarm, since another
 * process, at that gateway, was first under its identity.
 */
export const FileCause = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('new') }),
  z.object({ kind: z.literal('away'), ...causePeers, repairFromMs: z.int().nonnegative() }),
  z.object({ kind: z.literal('gone'), ...causePeers }),
  z.object({ kind: z.literal('unproved'), ...causePeers }),
  z.object({ kind: z.literal('few-peers'), count: z.int().nonnegative() }),
  z.object({ kind: z.literal('unanswered'), ...causePeers }),
  z.object({ kind: z.literal('joining') }),
  z.object({ kind: z.literal('aside'), gateway: Origin }),
]);
export type FileCause = z.infer<typeof FileCause>;

/** Facts of a file that never change after its upload. */
const fileFacts = {
  cid: Cid,
  kind: DagKind.default('file'),
  name: z.string(),
  sizeBytes: z.int().nonnegative(),
  /** Only files have one. */
  sha256: Sha256.optional(),
  blocks: z.int().positive(),
} as const;

/** The answer to an upload. `copies` is what was confirmed when the answer was written. */
export const UploadReply = z.object({
  ...fileFacts,
  copies: z.int().nonnegative(),
  replicas: z.int().positive(),
  state: FileState,
  /** Why `copies` are fewer than `replicas`. */
  causes: z.array(FileCause).default([]),
  url: z.string(),
});
export type UploadReply = z.infer<typeof UploadReply>;

/** How far an upload that may be resumed is, until its file is kept: then `UploadReply` tells. */
export const UploadProgress = z.object({
  state: z.literal('receiving'),
  name: z.string().optional(),
  /** Bytes that are durable here: where to go on. */
  receivedBytes: z.int().nonnegative(),
  /** Unknown until the sender states it. */
  sizeBytes: z.int().nonnegative().optional(),
  /** Expires at, unless resumed. */
  expiresAtMs: z.int().nonnegative(),
});
export type UploadProgress = z.infer<typeof UploadProgress>;

/** An entry of an uploaded directory: the path below it, and what it names. */
export const DirectoryItem = z.object({
  path: z.string(),
  cid: Cid,
  kind: z.enum(['file', 'directory', 'symlink']),
  /** File bytes: of a directory, those of all files below it. */
  sizeBytes: z.int().nonnegative(),
  /** Encoded size of all its blocks, as a link to it states it. */
  treeSizeBytes: z.int().nonnegative(),
});
export type DirectoryItem = z.infer<typeof DirectoryItem>;

/** The answer to the upload of a directory. */
export const DirectoryReply = UploadReply.extend({
  /** Files, directories and symlinks below it, itself left out. */
  entries: z.int().nonnegative(),
  treeSizeBytes: z.int().nonnegative(),
  /** Each of them in the order of their paths, when `?items` asked for that. */
  items: z.array(DirectoryItem).optional(),
});
export type DirectoryReply = z.infer<typeof DirectoryReply>;

/** The answer to an import of blocks. */
export const ImportReply = z.object({
  /** Blocks that came, each verified, and stored here. */
  blocks: z.int().nonnegative(),
  blockBytes: z.int().nonnegative(),
  /** Roots that are kept from now on. */
  pinned: z.array(UploadReply),
  /** Roots that are not, and why: their blocks stay for a while, so that the rest may follow. */
  unpinned: z.array(z.object({ cid: z.string(), reason: z.string() })),
});
export type ImportReply = z.infer<typeof ImportReply>;

/** The answer to a form with more than one file, in the form's order. */
export const UploadsReply = z.object({ files: z.array(UploadReply) });
export type UploadsReply = z.infer<typeof UploadsReply>;

/** A file of the swarm, as listed. */
export const FileEntry = z.object({
  ...fileFacts,
  replicas: z.int().positive(),
  createdAtMs: z.int().nonnegative(),
  /** Expiry (wall clock, ms); undefined: never. */
  expiresAtMs: z.int().nonnegative().optional(),
  /** Only of a deleted file that can be brought back: when it was deleted, as far as this peer knows. */
  deletedAtMs: z.int().nonnegative().optional(),
  /** Only of such a file: when it is purged by itself, or sooner if its room is needed. */
  purgeAtMs: z.int().nonnegative().optional(),
  state: FileState,
  /** Why `copies` are fewer than `replicas`, or why that is unknown; the main one first. */
  causes: z.array(FileCause).default([]),
  /** Fewest copies over the file's blocks, by the last answers of peers that are not down. */
  copies: z.int().nonnegative(),
  /** When the oldest answer that `copies` rests on was given; absent when nobody answered yet. */
  verifiedAtMs: z.int().nonnegative().optional(),
});
export type FileEntry = z.infer<typeof FileEntry>;

/**
 * The evidence for a holder's claim. `own`: it is this peer. `proved`: it proved blocks of this file.
 * `sampled`: it proved blocks of other files lately; of this one, this peer has nothing to compare with,
 * or has not asked. `claimed`: nothing yet; it counts until it fails. `failed`: it could not prove blocks
 * of this file, or of others: it does not count.
 */
export const ProofState = z.enum(['own', 'proved', 'sampled', 'claimed', 'failed']);
export type ProofState = z.infer<typeof ProofState>;

/** How safe a file is; every member that is up was asked just now. Filled in discovery's health/examine.ts. */
export const FileHealth = FileEntry.extend({
  /** The copies that answers to this very question confirm: less than `copies` when one is missing. */
  confirmed: z.int().nonnegative().default(0),
  /** The copies that peers say they hold, trusted or not. */
  claimed: z.int().nonnegative().default(0),
  /** The copies of `copies` whose holders proved a sample of what they say they hold; ours is one. */
  proved: z.int().nonnegative().default(0),
  /** How many peers may be lost together before a block is: copies − 1, never below 0. */
  survivesPeers: z.int().nonnegative(),
  /** Distinct disks that hold copies of the worst-placed block: one disk is one accident. Memory is none. */
  disks: z.int().nonnegative(),
  /** Distinct machines that hold copies of the worst-placed block. */
  machines: z.int().nonnegative().default(0),
  /** When the oldest answer that this rests on was given. */
  verifiedAtMs: z.int().nonnegative(),
  /** When the copy that was re-hashed longest ago was, by this peer's clock; absent when a holder did not say. */
  checkedAtMs: z.int().nonnegative().optional(),
  /** Peers that say they hold blocks of it; `proof` says whether that counts. */
  holders: z.array(
    z.object({
      peerId: PeerId,
      blocks: z.int().nonnegative(),
      /** Share of the file's blocks held, 0 to 1. */
      share: z.number().min(0).max(1),
      haveMap: HaveMap,
      /** When it said so. */
      answeredAtMs: z.int().nonnegative().optional(),
      /** Whether that counts as a copy, and why; absent in answers of earlier versions. */
      proof: ProofState.optional(),
      /** When it last proved blocks of this very file. */
      provedAtMs: z.int().nonnegative().optional(),
    }),
  ),
});
export type FileHealth = z.infer<typeof FileHealth>;
