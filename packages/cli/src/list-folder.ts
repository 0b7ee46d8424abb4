/** What lies in a folder, before a byte of it is sent: what can't be uploaded is found out first. */
import type { Dirent } from 'node:fs';
import { lstat, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { fileNameFault } from '@shoal/protocol';
import { CommandFailure } from './failure.ts';

/** Folders in folders: what a peer takes is less. */
const DEPTH_MAX = 256;

export type FolderEntry =
  | {
      readonly kind: 'file';
      readonly path: string;
      readonly full: string;
      readonly sizeBytes: number;
    }
  | { readonly kind: 'folder'; readonly path: string }
  | { readonly kind: 'symlink'; readonly path: string; readonly target: Buffer };

/**
 * Everything below a folder, folders before what is in them; paths have "/" and begin below it.
 * Symlinks are told, not followed.
 * @throws CommandFailure for names that a peer refuses, and for what is no file, folder or symlink.
 */
export async function listFolder(
  folder: string,
  { withHidden }: { readonly withHidden: boolean },
): Promise<FolderEntry[]> {
  const entries: FolderEntry[] = [];
  const list = async (full: string, prefix: string, depth: number): Promise<void> => {
    if (depth > DEPTH_MAX) throw new CommandFailure(`${full} lies too deep`);
    const found = await readdir(full, { withFileTypes: true });
    for (const entry of found.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
      if (!withHidden && entry.name.startsWith('.')) continue;
      const path = prefix + entry.name;
      entries.push(await look(entry, join(full, entry.name), path));
      if (entry.isDirectory()) await list(join(full, entry.name), `${path}/`, depth + 1);
    }
  };
  await list(folder, '', 0);
  return entries;
}

async function look(entry: Dirent, full: string, path: string): Promise<FolderEntry> {
  // A name that is no UTF-8 was mended by the reader, so it would not be found again.
  const fault = entry.name.includes('\ufffd')
    ? 'it is not valid Unicode'
    : fileNameFault(entry.name);
  if (fault !== undefined)
    throw new CommandFailure(`${full} has a name that no peer takes: ${fault}`);
  if (entry.isSymbolicLink())
    return { kind: 'symlink', path, target: await readlink(full, { encoding: 'buffer' }) };
  if (entry.isDirectory()) return { kind: 'folder', path };
  if (entry.isFile()) return { kind: 'file', path, full, sizeBytes: (await lstat(full)).size };
  throw new CommandFailure(`${full} is no file, folder or symlink`);
}
