/** Mode and time of last change, as UnixFS 1.5 keeps them: in the root node of a file, folder or symlink. */
import type { UnixFS } from 'ipfs-unixfs';

export interface Attributes {
  /** Permission bits; undefined of symlinks, which have none. */
  readonly mode: number | undefined;
  /** Time of last change; undefined when nobody said it. */
  readonly mtime: { readonly secs: bigint; readonly nsecs: number } | undefined;
}

/** As the options of a UnixFS node; nothing without attributes, so that the CID stays what it was. */
export function unixfsAttributes(attributes: Attributes | undefined): {
  mode?: number;
  mtime?: { secs: bigint; nsecs: number };
} {
  if (attributes === undefined) return {};
  const { mode, mtime } = attributes;
  return { ...(mode === undefined ? {} : { mode }), ...(mtime === undefined ? {} : { mtime }) };
}

/** Those of a node; undefined when it has none. A mode that is the usual one is not written, yet known. */
export function attributesOf({ mode, mtime, type }: UnixFS): Attributes | undefined {
  const usual = type === 'directory' || type === 'hamt-sharded-directory' ? 0o755 : 0o644;
  if (mtime === undefined && (mode === undefined || mode === usual)) return undefined;
  const { secs, nsecs = 0 } = mtime ?? {};
  return {
    mode: type === 'symlink' ? undefined : mode,
    mtime: secs === undefined ? undefined : { secs, nsecs },
  };
}
