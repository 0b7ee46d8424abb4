/** Whether the bytes on disk are the block that their name says. */
import { createHash } from 'node:crypto';
import type { BlockFiles } from '../disk/block-files.ts';
import type { BlockIndex } from '../index/block-index.ts';
import type { BlockRecord, Digest } from '../disk/block-record.ts';

/** What this process or its host lacks for a moment: it says nothing about the block. */
const SHORTAGES = new Set(['EMFILE', 'ENFILE', 'ENOMEM', 'ENOBUFS', 'EAGAIN', 'EINTR']);

/**
 * Re-reads and re-hashes a block: every byte, and that there are no more and no fewer. One that
 * can't be read is not sound.
 * @param buffer For the bytes of a file: of the block's size at least.
 */
export async function isSound(
  {
    files,
    index,
  }: {
    readonly files: Pick<BlockFiles, 'sizeOf' | 'read'>;
    readonly index: Pick<BlockIndex, 'readSmall'>;
  },
  digest: Digest,
  { place, sizeBytes }: BlockRecord,
  buffer: Uint8Array,
): Promise<boolean> {
  if (place === 'lmdb') {
    const bytes = sizeBytes === 0 ? new Uint8Array() : index.readSmall(digest);
    return bytes?.length === sizeBytes && hashOf(bytes) === digest;
  }
  try {
    if ((await files.sizeOf(digest)) !== sizeBytes) return false;
    const bytes = buffer.subarray(0, sizeBytes);
    return (await files.read(digest, bytes)) === sizeBytes && hashOf(bytes) === digest;
  } catch (error) {
    if (isDamage(error)) return false;
    throw error;
  }
}

/** True when the disk refuses to give a file: its medium, its name or its rights are bad. */
export function isDamage(error: unknown): boolean {
  const { code, syscall } = error as NodeJS.ErrnoException;
  return syscall !== undefined && code !== undefined && !SHORTAGES.has(code);
}

/** The sha-256 of the bytes, as a digest is written. */
export const hashOf = (bytes: Uint8Array): string =>
  createHash('sha256').update(bytes).digest('hex');
