/** Modes and times of files on this disk, as UnixFS 1.5 keeps them. */
import { lstat } from 'node:fs/promises';
import type { Attributes } from '@shoal/blocks';

/** Of a path itself; a symlink is not followed. */
export async function readAttributes(full: string): Promise<Attributes> {
  const status = await lstat(full, { bigint: true });
  return attributesOf(status, { isSymlink: status.isSymbolicLink() });
}

export function attributesOf(
  { mode, mtimeNs }: { readonly mode: bigint; readonly mtimeNs: bigint },
  { isSymlink }: { readonly isSymlink: boolean },
): Attributes {
  const nsecs = ((mtimeNs % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n; // before 1970 too
  return {
    mode: isSymlink ? undefined : Number(mode & 0o7777n),
    mtime: { secs: (mtimeNs - nsecs) / 1_000_000_000n, nsecs: Number(nsecs) },
  };
}
