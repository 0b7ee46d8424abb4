/**
 * The parts of a TAR (POSIX.1-2001, pax) that are not file bytes. `tar` encodes the headers; its stream
 * is not used, since it ends the names of directories in a slash, which Kubo's command line takes for a
 * second name behind the root's and refuses.
 *
 * The same entry gives the same bytes: what says no time gets the epoch's.
 */
import type { Attributes } from '@shoal/blocks';
import { Header } from 'tar/header';
import { Pax } from 'tar/pax';

const RECORD_BYTES = 512;
/** The last second that `Date` has. */
const LAST_SECOND = 8_640_000_000_000n;
const TYPES = { file: 'File', directory: 'Directory', symlink: 'SymbolicLink' } as const;
const USUAL_MODES = { file: 0o644, directory: 0o755, symlink: 0o777 } as const;
/** No set-user-id of a stranger's. */
const PERMISSIONS = 0o777;

export interface TarHead {
  readonly kind: keyof typeof TYPES;
  /** Below the root, that included, without a slash at its end. */
  readonly path: string;
  readonly sizeBytes: number;
  /** Where a symlink leads; empty of everything else. */
  readonly linkTo: string;
  readonly attributes: Attributes | undefined;
}

/** Two records of zeros: nothing follows. */
export const TAR_END: Uint8Array = new Uint8Array(2 * RECORD_BYTES);

/** The header of an entry, with an extended one before it where names or sizes need that. */
export function tarHeader({ kind, path, sizeBytes, linkTo, attributes }: TarHead): Uint8Array {
  const { mode = USUAL_MODES[kind], mtime } = attributes ?? {};
  const fields = {
    path,
    mode: mode & PERMISSIONS,
    uid: 0,
    gid: 0,
    size: sizeBytes,
    mtime: new Date(1000 * secondsOf(mtime?.secs ?? 0n)),
    type: TYPES[kind],
    ...(kind === 'symlink' ? { linkpath: linkTo } : {}),
  };
  const header = Buffer.alloc(RECORD_BYTES);
  if (!new Header(fields).encode(header)) return header;
  return Buffer.concat([new Pax(fields).encode(), header]);
}

/** Zeros after a file's bytes, up to the next record. */
export const tarPadding = (sizeBytes: number): Uint8Array =>
  new Uint8Array((RECORD_BYTES - (sizeBytes % RECORD_BYTES)) % RECORD_BYTES);

function secondsOf(secs: bigint): number {
  if (secs > LAST_SECOND) return Number(LAST_SECOND);
  return Number(secs < -LAST_SECOND ? -LAST_SECOND : secs);
}
