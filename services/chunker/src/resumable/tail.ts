/**
 * The bytes behind the last whole chunk, kept in a file until they are one. Without it a client whose
 * requests are smaller than a chunk would send the same bytes forever.
 *
 * The file says how many chunks come before it, so it goes out of date by itself when the next
 * chunk is written down, even if the process crashes in between.
 */
import { readFile, rm, stat } from 'node:fs/promises';
import { crc32 } from 'node:zlib';
import { replaceFile } from './log.ts';

/** Chunks before it, then the checksum of what follows: both 32 bits, big-endian. */
const HEADER_SIZE_BYTES = 8;

/** Where a tail belongs and how long it is. */
export interface Tail {
  readonly afterLeaves: number;
  readonly sizeBytes: number;
}

/** Durable once resolved. @throws StorageFull */
export async function writeTail(
  path: string,
  afterLeaves: number,
  bytes: Uint8Array,
): Promise<Tail> {
  const header = Buffer.alloc(HEADER_SIZE_BYTES);
  header.writeUInt32BE(afterLeaves, 0);
  header.writeUInt32BE(crc32(bytes), 4);
  await replaceFile(path, Buffer.concat([header, bytes]));
  return { afterLeaves, sizeBytes: bytes.length };
}

/** The tail in the file; undefined when there is none that is whole. */
export async function readTail(
  path: string,
): Promise<(Tail & { readonly bytes: Uint8Array; readonly usedAtMs: number }) | undefined> {
  let file: Buffer;
  try {
    file = await readFile(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  const bytes = file.subarray(HEADER_SIZE_BYTES);
  if (file.length <= HEADER_SIZE_BYTES || file.readUInt32BE(4) !== crc32(bytes)) return undefined;
  const { mtimeMs } = await stat(path);
  return {
    afterLeaves: file.readUInt32BE(0),
    sizeBytes: bytes.length,
    bytes,
    usedAtMs: mtimeMs,
  };
}

export const removeTail = (path: string): Promise<void> => rm(path, { force: true });
