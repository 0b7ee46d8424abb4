/**
 * The headers of a file's answer. What users upload is nobody's page: it is served sandboxed, and
 * never under a type that the browser guessed.
 */
import type { Pin, Sha256 } from '@shoal/protocol';

/** Content types by extension: what browsers show, and what tools ask for. All else is bytes. */
const TYPES: Readonly<Record<string, string>> = {
  aac: 'audio/aac',
  avif: 'image/avif',
  bmp: 'image/bmp',
  bz2: 'application/x-bzip2',
  css: 'text/css; charset=utf-8',
  csv: 'text/csv; charset=utf-8',
  epub: 'application/epub+zip',
  flac: 'audio/flac',
  gif: 'image/gif',
  gz: 'application/gzip',
  htm: 'text/html; charset=utf-8',
  html: 'text/html; charset=utf-8',
  ico: 'image/vnd.microsoft.icon',
  jpeg: 'image/jpeg',
  jpg: 'image/jpeg',
  js: 'text/javascript; charset=utf-8',
  json: 'application/json',
  m4a: 'audio/mp4',
  md: 'text/markdown; charset=utf-8',
  mjs: 'text/javascript; charset=utf-8',
  mkv: 'video/x-matroska',
  mov: 'video/quicktime',
  mp3: 'audio/mpeg',
  mp4: 'video/mp4',
  oga: 'audio/ogg',
  ogg: 'audio/ogg',
  ogv: 'video/ogg',
  opus: 'audio/ogg',
  pdf: 'application/pdf',
  png: 'image/png',
  svg: 'image/svg+xml',
  tar: 'application/x-tar',
  tif: 'image/tiff',
  tiff: 'image/tiff',
  txt: 'text/plain; charset=utf-8',
  wasm: 'application/wasm',
  wav: 'audio/wav',
  webm: 'video/webm',
  webp: 'image/webp',
  xml: 'application/xml',
  xz: 'application/x-xz',
  zip: 'application/zip',
  zst: 'application/zstd',
};

/** The media type for a name, by its extension. */
export function contentType(name: string): string {
  const extension = /\.([^.]+)$/.exec(name)?.[1]?.toLowerCase() ?? '';
  return (
    (Object.hasOwn(TYPES, extension) ? TYPES[extension] : undefined) ?? 'application/octet-stream'
  );
}

/** RFC 6266 and RFC 8187: an ASCII copy for old clients, the true name in UTF-8 for all others. */
export function contentDisposition(kind: 'inline' | 'attachment', name: string): string {
  const ascii = name.replace(/[^\x20-\x7e]/g, '_').replace(/["\\%]/g, '_');
  if (ascii === name) return `${kind}; filename="${ascii}"`;
  const utf8 = encodeURIComponent(name).replace(
    /['()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  return `${kind}; filename="${ascii}"; filename*=UTF-8''${utf8}`;
}

/** Strong, since the same CID is the same bytes for ever. */
export const etagOf = ({ root }: Pick<Pin, 'root'>): string => `"${root}"`;

/** All headers that do not depend on the range. */
export function fileHeaders(
  pin: Pin,
  { isDownload, name }: { readonly isDownload: boolean; readonly name: string },
): Record<string, string> {
  return {
    'accept-ranges': 'bytes',
    'cache-control': 'public, max-age=29030400, immutable',
    'content-disposition': contentDisposition(isDownload ? 'attachment' : 'inline', name),
    'content-security-policy':
      "sandbox; default-src 'none'; img-src 'self' data:; media-src 'self'; style-src 'unsafe-inline'",
    'content-type': contentType(name),
    etag: etagOf(pin),
    'referrer-policy': 'no-referrer',
    ...(pin.sha256 === undefined ? {} : { 'repr-digest': reprDigest(pin.sha256) }),
    'x-content-type-options': 'nosniff',
    'x-shoal-cid': pin.root,
  };
}

/** RFC 9530: the digest of the whole file, whatever part of it is sent. */
const reprDigest = (sha256: Sha256): string =>
  `sha-256=:${Buffer.from(sha256, 'hex').toString('base64')}:`;
