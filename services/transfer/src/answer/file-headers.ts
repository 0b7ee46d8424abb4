/**
 * The headers of a file's answer. What users upload is nobody's page: it is served sandboxed, and
 * never under a type that the browser guessed.
 */
import { formatSha256 } from '@shoal/chassis';
import type { Pin } from '@shoal/protocol';

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

/** The media type for a name, by its extension; undefined for one that is not in the table. */
export function typeByName(name: string): string | undefined {
  const extension = /\.([^.]+)$/.exec(name)?.[1]?.toLowerCase() ?? '';
  return Object.hasOwn(TYPES, extension) ? TYPES[extension] : undefined;
}

/** The media type for a name; plain bytes when in doubt. */
export const contentType = (name: string): string => typeByName(name) ?? 'application/octet-stream';

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

/** For ever: the same CID is the same bytes. */
export const IMMUTABLE = 'public, max-age=29030400, immutable';

/** Strong, since the same CID is the same bytes for ever. */
export const etagOf = ({ root }: Pick<Pin, 'root'>): string => `"${root}"`;

/** Headers of bytes that somebody else made, whichever way they are asked for. */
export function contentHeaders({
  etag,
  type,
  disposition,
}: {
  readonly etag: string;
  readonly type: string;
  /** See `contentDisposition`; none leaves the name to the reader. */
  readonly disposition: string | undefined;
}): Record<string, string> {
  return {
    'accept-ranges': 'bytes',
    'cache-control': IMMUTABLE,
    ...(disposition === undefined ? {} : { 'content-disposition': disposition }),
    'content-security-policy':
      "sandbox; default-src 'none'; img-src 'self' data:; media-src 'self'; style-src 'unsafe-inline'",
    'content-type': type,
    etag,
    'referrer-policy': 'no-referrer',
    'x-content-type-options': 'nosniff',
  };
}

/** What is said of a file that a pin knows, beside its content. */
export function pinHeaders(
  pin: Pin,
  {
    link,
    wantsDigest,
  }: {
    /** Where else the file is, and what describes it: see alternates.ts. */
    readonly link: string;
    /** Whether the reader minds the file's sha-256: see repr-digest.ts of chassis. */
    readonly wantsDigest: boolean;
  },
): Record<string, string> {
  return {
    link,
    ...(pin.sha256 === undefined || !wantsDigest
      ? {}
      : { 'repr-digest': formatSha256(pin.sha256) }),
    'x-shoal-cid': pin.root,
  };
}
