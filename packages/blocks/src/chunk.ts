/**
 * ② Chunk: cuts a stream of any pieces into chunks of one size.
 *
 * Fixed-size, because the profile `unixfs-v1-2025` (IPIP-499) is: the same file has the same CID
 * here and in every IPFS tool. The bytes are copied once, into buffers that the caller pools; a copy
 * into a used buffer costs a few per cent of hashing it, a new buffer for each chunk costs more.
 */

/** One cut: `bytes` is a view on `buffer`, which the caller took and takes back. */
export interface Chunk {
  readonly buffer: Uint8Array;
  readonly bytes: Uint8Array;
}

/**
 * Yields chunks of exactly `sizeBytes`, the last one shorter unless it fits. An empty source yields
 * one empty chunk: an empty file is a block too. Bounded: holds one buffer at a time.
 */
export async function* chunk(
  source: AsyncIterable<Uint8Array>,
  {
    sizeBytes,
    takeBuffer,
  }: {
    readonly sizeBytes: number;
    /** Gives a buffer of at least `sizeBytes`; may wait, which holds the source back. */
    readonly takeBuffer: () => Uint8Array | Promise<Uint8Array>;
  },
): AsyncGenerator<Chunk, void, undefined> {
  let buffer: Uint8Array | undefined;
  let filledBytes = 0;
  let isEmpty = true;
  for await (const piece of source) {
    for (let offset = 0; offset < piece.length;) {
      buffer ??= await takeBuffer();
      const end = Math.min(piece.length, offset + sizeBytes - filledBytes);
      buffer.set(
        offset === 0 && end === piece.length ? piece : piece.subarray(offset, end),
        filledBytes,
      );
      filledBytes += end - offset;
      offset = end;
      if (filledBytes === sizeBytes) {
        isEmpty = false;
        yield { buffer, bytes: buffer.subarray(0, sizeBytes) };
        buffer = undefined;
        filledBytes = 0;
      }
    }
  }
  if (buffer === undefined && !isEmpty) return;
  buffer ??= await takeBuffer();
  yield { buffer, bytes: buffer.subarray(0, filledBytes) };
}
