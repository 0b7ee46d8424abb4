/**
 * Several small blocks in one body. A frame is a codec byte (0 raw, 1 dag-pb), the length of the
 * block as 4 bytes big-endian, then the block. Frames follow each other until the body ends.
 */
import { BLOCK_SIZE_MAX_BYTES } from '../bytes.ts';
import { RequestInvalid } from '../problems/index.ts';
import type { Codec } from '../routes/storage.ts';

const HEADER_SIZE_BYTES = 5;
const CODECS: readonly Codec[] = ['raw', 'dag-pb'];

export interface Frame {
  readonly codec: Codec;
  readonly bytes: Uint8Array;
}

/** Joins blocks into one body. */
export function encodeFrames(frames: readonly Frame[]): Uint8Array {
  const sizeBytes = frames.reduce((sum, { bytes }) => sum + HEADER_SIZE_BYTES + bytes.length, 0);
  const body = new Uint8Array(sizeBytes);
  const view = new DataView(body.buffer);
  let offset = 0;
  for (const { codec, bytes } of frames) {
    view.setUint8(offset, CODECS.indexOf(codec));
    view.setUint32(offset + 1, bytes.length);
    body.set(bytes, offset + HEADER_SIZE_BYTES);
    offset += HEADER_SIZE_BYTES + bytes.length;
  }
  return body;
}

/**
 * Cuts a body back into blocks, as views on it.
 * @throws RequestInvalid when a frame is torn, too large, or of an unknown codec.
 */
export function decodeFrames(body: Uint8Array): Frame[] {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const frames: Frame[] = [];
  for (let offset = 0; offset < body.length;) {
    if (offset + HEADER_SIZE_BYTES > body.length)
      throw new RequestInvalid({ reason: `frame ${frames.length} has a torn header` });
    const codec = CODECS[view.getUint8(offset)];
    if (codec === undefined)
      throw new RequestInvalid({ reason: `frame ${frames.length} has an unknown codec` });
    const sizeBytes = view.getUint32(offset + 1);
    const start = offset + HEADER_SIZE_BYTES;
    if (sizeBytes > BLOCK_SIZE_MAX_BYTES || start + sizeBytes > body.length)
      throw new RequestInvalid({ reason: `frame ${frames.length} is torn or too large` });
    frames.push({ codec, bytes: body.subarray(start, start + sizeBytes) });
    offset = start + sizeBytes;
  }
  return frames;
}
