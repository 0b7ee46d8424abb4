/** Whether the bytes on disk are the block that their name says. */
import assert from 'node:assert';
import { createHash } from 'node:crypto';
import type { BlockFiles } from '../../disk/block-files.ts';
import type { BlockRecord, Digest } from '../../disk/block-record.ts';
import type { BlockIndex } from '../../index/block-index.ts';
import type { BlockTable } from '../../index/block-table.ts';

/** Errors for lack of a resource of this process or its host: they say nothing about the block. */
const SHORTAGES = new Set(['EMFILE', 'ENFILE', 'ENOMEM', 'ENOBUFS', 'EAGAIN', 'EINTR']);

/** Where bytes are. */
interface Bytes {
  readonly files: Pick<BlockFiles, 'sizeOf' | 'read'>;
  readonly index: Pick<BlockIndex, 'readSmall'>;
}

/** Size of a block whose bytes seem to be there: the cheap half of `isSound`. */
export async function probe(
  { table, files }: Pick<Bytes, 'files'> & { readonly table: Pick<BlockTable, 'held'> },
  digest: Digest,
): Promise<number | undefined> {
  const record = table.held(digest);
  if (record?.place !== 'file') return record?.sizeBytes;
  try {
    return (await files.sizeOf(digest)) === record.sizeBytes ? record.sizeBytes : undefined;
  } catch (error) {
    if (isDamage(error)) return undefined;
    throw error;
  }
}

/**
 * Re-reads and re-hashes a block: every byte, and that there are no more and no fewer. One that
 * can't be read is not sound.
 * @param buffer For the bytes of a file: of the block's size at least.
 */
export async function isSound(
  { files, index }: Bytes,
  digest: Digest,
  { place, sizeBytes }: BlockRecord,
  buffer: Uint8Array,
): Promise<boolean> {
  if (place === 'lmdb') {
    const bytes = readRow(index, digest, sizeBytes);
    return bytes !== undefined && hashOf(bytes) === digest;
  }
  assert(buffer.length >= sizeBytes, 'the buffer of a check has room for the block');
  try {
    if ((await files.sizeOf(digest)) !== sizeBytes) return false;
    const bytes = buffer.subarray(0, sizeBytes);
    return (await files.read(digest, bytes)) === sizeBytes && hashOf(bytes) === digest;
  } catch (error) {
    if (isDamage(error)) return false;
    throw error;
  }
}

/** The bytes of a small block; undefined when they are not all there. An empty one has no row. */
export function readRow(
  index: Bytes['index'],
  digest: Digest,
  sizeBytes: number,
): Uint8Array | undefined {
  const bytes = sizeBytes === 0 ? new Uint8Array() : index.readSmall(digest);
  return bytes?.length === sizeBytes ? bytes : undefined;
}

/** True when the disk refuses to give a file: its medium, its name or its rights are bad. */
export function isDamage(error: unknown): boolean {
  const { code, syscall } = error as NodeJS.ErrnoException;
  return syscall !== undefined && code !== undefined && !SHORTAGES.has(code);
}

/** The sha-256 of the bytes, as a digest is written. */
const hashOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
