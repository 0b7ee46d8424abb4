/**
 * The media type of bytes without a name, by how they begin. No type that a browser runs is given by
 * bytes, since the uploader chooses those: a page, a script or an image with scripts (SVG) is text.
 */

/** How far to look. */
const LOOK_AT_BYTES = 512;

/** Bytes at an offset, as text in latin1. */
type Magic = readonly [type: string, offset: number, bytes: string];

const MAGICS: readonly Magic[] = [
  ['image/png', 0, '\x89PNG\r\n\x1a\n'],
  ['image/jpeg', 0, '\xff\xd8\xff'],
  ['image/gif', 0, 'GIF87a'],
  ['image/gif', 0, 'GIF89a'],
  ['image/webp', 8, 'WEBPVP8'],
  ['image/avif', 4, 'ftypavif'],
  ['image/tiff', 0, 'II*\0'],
  ['image/tiff', 0, 'MM\0*'],
  ['audio/wav', 8, 'WAVEfmt'],
  ['audio/mpeg', 0, 'ID3'],
  ['audio/flac', 0, 'fLaC'],
  ['audio/mp4', 4, 'ftypM4A'],
  ['video/mp4', 4, 'ftyp'],
  ['video/webm', 0, '\x1aE\xdf\xa3'],
  ['application/ogg', 0, 'OggS'],
  ['application/pdf', 0, '%PDF-'],
  ['application/zip', 0, 'PK\x03\x04'],
  ['application/gzip', 0, '\x1f\x8b'],
  ['application/x-xz', 0, '\xfd7zXZ\0'],
  ['application/zstd', 0, '\x28\xb5\x2f\xfd'],
  ['application/x-bzip2', 4, '1AY&SY'],
  ['application/x-tar', 257, 'ustar'],
  ['application/wasm', 0, '\0asm'],
];

/** The media type of what begins like this. */
export function sniff(first: Uint8Array): string {
  const begin = first.subarray(0, LOOK_AT_BYTES);
  const text = Buffer.from(begin.buffer, begin.byteOffset, begin.length).toString('latin1');
  const magic = MAGICS.find(([, offset, bytes]) => text.startsWith(bytes, offset));
  if (magic !== undefined) return magic[0];
  return isText(begin, text) ? 'text/plain; charset=utf-8' : 'application/octet-stream';
}

/** UTF-8 without control characters; a character that is cut at the end is no fault. */
function isText(begin: Uint8Array, latin1: string): boolean {
  // eslint-disable-next-line no-control-regex
  if (/[\0-\x08\x0e-\x1a\x1c-\x1f\x7f]/.test(latin1)) return false;
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(begin, { stream: true });
    return true;
  } catch {
    return false;
  }
}
