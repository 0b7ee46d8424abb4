/**
 * The content of a folder, before a byte of it is sent: what can't be uploaded is found first, and
 * listed, so that one odd entry doesn't keep the rest out.
 */
import type { Dirent } from 'node:fs';
import { lstat, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { Attributes } from '@shoal/blocks';
import {
  entryNameFault,
  PATH_SEGMENTS_MAX,
  PATH_SIZE_MAX_BYTES,
  SYMLINK_TARGET_MAX_BYTES,
} from '@shoal/protocol';
import { readAttributes } from './file-attributes.ts';
import { reasonOf } from './open-file.ts';

export type FolderEntry = { readonly path: string; readonly attributes?: Attributes } & (
  | {
      readonly kind: 'file';
      readonly full: string;
      readonly sizeBytes: number;
    }
  | { readonly kind: 'folder' }
  | { readonly kind: 'symlink'; readonly target: Buffer }
);

/** An entry that is left out, and why, in words for a person. */
export interface LeftOut {
  readonly path: string;
  readonly reason: string;
}

export interface FolderListing {
  /** Folders before what is in them; paths have "/" and begin below the folder. */
  readonly entries: readonly FolderEntry[];
  readonly leftOut: readonly LeftOut[];
  /** Of the folder itself, when attributes are wanted. */
  readonly attributes: Attributes | undefined;
}

/** Whether names that begin with a dot are taken, left out and listed, or left out as was asked for. */
export type Hidden = 'take' | 'list' | 'pass-over';

/**
 * Everything below a folder that can be uploaded. Symlinks are listed, not followed.
 * @throws the system's error when the folder itself can't be read.
 */
export async function listFolder(
  folder: string,
  {
    hidden,
    withAttributes = false,
    nameBytes = 0,
  }: {
    readonly hidden: Hidden;
    readonly withAttributes?: boolean;
    /** The prefix of each path, with its "/": a peer bounds the whole. */
    readonly nameBytes?: number;
  },
): Promise<FolderListing> {
  const entries: FolderEntry[] = [];
  const leftOut: LeftOut[] = [];
  const list = async (
    found: readonly Dirent<Buffer>[],
    { full, prefix, depth }: { full: string; prefix: string; depth: number },
  ): Promise<void> => {
    const sorted = found.toSorted((a, b) => Buffer.compare(a.name, b.name));
    for (const entry of sorted) {
      const name = entry.name.toString();
      const path = prefix + name;
      const leave = (reason: string) => void leftOut.push({ path, reason });
      if (hidden !== 'take' && name.startsWith('.')) {
        if (hidden === 'list') leave('hidden; --hidden takes it, --no-hidden leaves it out');
        continue;
      }
      const fault = Buffer.from(name).equals(entry.name)
        ? entryNameFault(name)
        : 'its name is not valid UTF-8';
      if (fault !== undefined) {
        leave(fault);
        continue;
      }
      if (depth > PATH_SEGMENTS_MAX) {
        leave(`it is deeper than ${PATH_SEGMENTS_MAX} folders`);
        continue;
      }
      if (nameBytes + Buffer.byteLength(path) > PATH_SIZE_MAX_BYTES) {
        leave(`its path is longer than ${PATH_SIZE_MAX_BYTES} bytes`);
        continue;
      }
      const at = join(full, name);
      try {
        const looked = await look(entry, { full: at, path }, withAttributes);
        if (typeof looked === 'string') {
          leave(looked);
          continue;
        }
        const below =
          looked.kind === 'folder'
            ? await readdir(at, { withFileTypes: true, encoding: 'buffer' })
            : [];
        entries.push(looked);
        await list(below, { full: at, prefix: `${path}/`, depth: depth + 1 });
      } catch (error) {
        leave(reasonOf(error));
      }
    }
  };
  const found = await readdir(folder, { withFileTypes: true, encoding: 'buffer' });
  await list(found, { full: folder, prefix: '', depth: 1 });
  return {
    entries,
    leftOut,
    attributes: withAttributes ? await readAttributes(folder) : undefined,
  };
}

/** An entry, or why it is none. */
async function look(
  entry: Dirent<Buffer>,
  { full, path }: { readonly full: string; readonly path: string },
  withAttributes: boolean,
): Promise<FolderEntry | string> {
  const common = { path, ...(withAttributes ? { attributes: await readAttributes(full) } : {}) };
  if (entry.isSymbolicLink()) {
    const target = await readlink(full, { encoding: 'buffer' });
    if (target.length > SYMLINK_TARGET_MAX_BYTES) return 'its target is too long';
    return { ...common, kind: 'symlink', target };
  }
  if (entry.isDirectory()) return { ...common, kind: 'folder' };
  if (entry.isFile()) return { ...common, kind: 'file', full, sizeBytes: (await lstat(full)).size };
  return 'it is no file, folder or symlink';
}
