/**
 * The headers of a file's answer. Uploads are not pages of this origin: they are served sandboxed, and
 * never under a type that the browser guessed.
 */
import { type Pin, formatSha256 } from '@shoal/protocol';
import { lookup } from 'mime-types';

/** Types that the database behind mime-types lacks, or has under an older name. */
const OWN_TYPES: Readonly<Record<string, string>> = {
  car: 'application/vnd.ipld.car', // IANA; the database has a use that is gone
  flac: 'audio/flac', // RFC 9639
  zst: 'application/zstd', // RFC 8878
};
/** Extensions of source texts that the database has for something else (`.ts` as MPEG): typed by their bytes. */
const AMBIGUOUS: ReadonlySet<string> = new Set(['mts', 'org', 'rs', 'ts']);

/** The media type for a name, by its extension; undefined for one that tells nothing. */
export function typeByName(name: string): string | undefined {
  const extension = /\.([^.]+)$/.exec(name)?.[1]?.toLowerCase();
  if (extension === undefined || AMBIGUOUS.has(extension)) return undefined;
  const own = Object.hasOwn(OWN_TYPES, extension) ? OWN_TYPES[extension] : undefined;
  const type = own ?? (lookup(extension) || undefined);
  // Text is UTF-8 or near enough; without a charset browsers take it for Windows-1252.
  return type?.startsWith('text/') === true ? `${type}; charset=utf-8` : type;
}

/** The media type for a name; plain bytes when in doubt. */
export const contentType = (name: string): string => typeByName(name) ?? 'application/octet-stream';

/**
 * RFC 6266 and RFC 8187: an ASCII copy for old clients, the true name in UTF-8 for all others. The copy is always
 * quoted, as the IPFS gateways write it and their conformance suite has it; content-disposition 3 quotes only what
 * is no token.
 */
export function contentDisposition(kind: 'inline' | 'attachment', name: string): string {
  // Quotes and escapes are read in different ways by old clients, so the copy has none.
  const ascii = name.replace(/[^\x20-\x7e]/g, '_').replace(/["\\%]/g, '_');
  if (ascii === name) return `${kind}; filename="${ascii}"`;
  const utf8 = encodeURIComponent(name).replace(
    /['()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  return `${kind}; filename="${ascii}"; filename*=UTF-8''${utf8}`;
}

/** The same CID is always the same bytes. */
export const IMMUTABLE = 'public, max-age=29030400, immutable';

/** Strong: see `IMMUTABLE`. */
export const etagOf = ({ root }: Pick<Pin, 'root'>): string => `"${root}"`;

/** Headers of bytes that users uploaded, whichever way they are asked for. */
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

/** Headers of a file that has a pin, beside those of its content. */
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
