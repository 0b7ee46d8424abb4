import * as z from 'zod';
import { Cid, PeerId, Sha256 } from './cid.ts';
import { HaveMap } from './have-map.ts';

/** Longest file name, in bytes of UTF-8: what common file systems take. */
export const FILE_NAME_MAX_BYTES = 255;

/** What is wrong with a name, in words for a person; undefined when nothing is. */
export function fileNameFault(name: string): string | undefined {
  if (name === '') return 'it is empty';
  if (new TextEncoder().encode(name).length > FILE_NAME_MAX_BYTES)
    return `it is longer than ${FILE_NAME_MAX_BYTES} bytes`;
  if (name === '.' || name === '..') return 'it names a folder';
  if (/[/\\]/.test(name)) return 'it contains a path separator';
  // eslint-disable-next-line no-control-regex
  if (/[\u0000-\u001f\u007f-\u009f]/.test(name)) return 'it contains a control character';
  // Bidirectional controls make "gpj.exe" read as "exe.jpg".
  if (/[\u200e\u200f\u202a-\u202e\u2066-\u2069\u061c]/.test(name))
    return 'it contains a character that reverses the reading direction';
  if (/[\ud800-\udfff]/.test(name.replace(/[\ud800-\udbff][\udc00-\udfff]/g, '')))
    return 'it is not valid Unicode';
  return undefined;
}

/** A name that a file may be uploaded under: one path segment, shown as it is, safe in a header. */
export const FileName = z.string().superRefine((name, context) => {
  const fault = fileNameFault(name);
  if (fault !== undefined) context.addIssue({ code: 'custom', message: fault });
});

/**
 * What a root is. `file`: a UnixFS file in any layout. `directory`: a UnixFS directory, flat or HAMT.
 * `dag`: any other DAG of raw and dag-pb blocks.
 */
export const DagKind = z.enum(['file', 'directory', 'dag']);
export type DagKind = z.infer<typeof DagKind>;

/**
 * Where a file stands. `receiving`: still coming in. `spreading`: fewer copies than asked for, new.
 * `safe`: every block has the copies asked for. `at-risk`: fewer, and no longer new.
 * `missing`: some block has no confirmed copy.
 */
export const FileState = z.enum(['receiving', 'spreading', 'safe', 'at-risk', 'missing']);
export type FileState = z.infer<typeof FileState>;

/** The answer to an upload. `copies` is what was confirmed when the answer was written. */
export const UploadReply = z.object({
  cid: Cid,
  kind: DagKind.default('file'),
  name: z.string(),
  sizeBytes: z.int().nonnegative(),
  /** Only files have one. */
  sha256: Sha256.optional(),
  blocks: z.int().positive(),
  copies: z.int().nonnegative(),
  replicas: z.int().positive(),
  state: FileState,
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
  /** When it is given up, unless it is gone on with before. */
  expiresAtMs: z.int().nonnegative(),
});
export type UploadProgress = z.infer<typeof UploadProgress>;

/** What stands in an uploaded directory: the path below it, and what it names. */
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
  cid: Cid,
  kind: DagKind.default('file'),
  name: z.string(),
  sizeBytes: z.int().nonnegative(),
  /** Only files have one. */
  sha256: Sha256.optional(),
  blocks: z.int().positive(),
  replicas: z.int().positive(),
  createdAtMs: z.int().nonnegative(),
  /** When it ends by itself; never without. */
  expiresAtMs: z.int().nonnegative().optional(),
  state: FileState,
  /** Fewest confirmed copies over the file's blocks. */
  copies: z.int().nonnegative(),
});
export type FileEntry = z.infer<typeof FileEntry>;

/** How safe a file is, from answers that were given just now. */
export const FileHealth = FileEntry.extend({
  /** How many peers may be lost together before a block is: copies − 1, never below 0. */
  survivesPeers: z.int().nonnegative(),
  /** Distinct disks that hold copies of the worst-placed block: one disk is one accident. */
  disks: z.int().nonnegative(),
  /** When the answers that this rests on were given. */
  verifiedAtMs: z.int().nonnegative(),
  /** When the copy that was re-hashed longest ago was re-hashed; absent when a holder did not say. */
  checkedAtMs: z.int().nonnegative().optional(),
  holders: z.array(
    z.object({
      peerId: PeerId,
      blocks: z.int().nonnegative(),
      /** Share of the file's blocks held, 0 to 1. */
      share: z.number().min(0).max(1),
      haveMap: HaveMap,
    }),
  ),
});
export type FileHealth = z.infer<typeof FileHealth>;
