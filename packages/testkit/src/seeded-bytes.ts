/**
 * Bytes that look random and are the same for the same seed: the key stream of AES-256 in counter
 * mode, which is faster than the disk and can't be compressed or deduplicated by accident.
 */
import { createCipheriv, createHash } from 'node:crypto';

const PIECE_SIZE_BYTES = 256 * 1024;

/** `sizeBytes` bytes from a seed, in memory. */
export function seededBytes(seed: string, sizeBytes: number): Buffer {
  return keyStream(seed).update(Buffer.alloc(sizeBytes));
}

/** The same bytes as `seededBytes`, in pieces. */
export async function* seededStream(
  seed: string,
  sizeBytes: number,
  pieceSizeBytes = PIECE_SIZE_BYTES,
): AsyncGenerator<Buffer> {
  const stream = keyStream(seed);
  const zeros = Buffer.alloc(pieceSizeBytes);
  for (let left = sizeBytes; left > 0; left -= pieceSizeBytes)
    yield stream.update(left < pieceSizeBytes ? zeros.subarray(0, left) : zeros);
}

/** The sha-256 of bytes or of a stream of them, in hex. */
export async function sha256Of(source: Uint8Array | AsyncIterable<Uint8Array>): Promise<string> {
  const digest = createHash('sha256');
  if (source instanceof Uint8Array) return digest.update(source).digest('hex');
  for await (const piece of source) digest.update(piece);
  return digest.digest('hex');
}

function keyStream(seed: string) {
  const key = createHash('sha256').update(seed).digest();
  return createCipheriv('aes-256-ctr', key, Buffer.alloc(16));
}
