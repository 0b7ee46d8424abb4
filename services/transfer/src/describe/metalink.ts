/**
 * A file as a Metalink (RFC 5854): its size, its sha-256, the sha-256 of each piece, and where it is
 * served. A client checks each piece as it comes and gets what is wrong from another address.
 */
import type { Sha256 } from '@shoal/protocol';

/** Media type of a Metalink. */
export const METALINK_TYPE = 'application/metalink4+xml';

/** Size of one sha-256, in bytes. */
export const SHA256_SIZE_BYTES = 32;

/** A Metalink document. */
export function metalinkOf({
  name,
  sizeBytes,
  sha256,
  pieces,
  createdAtMs,
  urls,
}: {
  readonly name: string;
  readonly sizeBytes: number;
  readonly sha256: Sha256 | undefined;
  /** The sha-256 of each piece, 32 bytes each, one after the other. */
  readonly pieces: { readonly sizeBytes: number; readonly sha256s: Uint8Array } | undefined;
  readonly createdAtMs: number;
  /** The best one first. */
  readonly urls: readonly string[];
}): Buffer {
  const lines = [
    '<?xml version="1.0" encoding="UTF-8"?>',
    '<metalink xmlns="urn:ietf:params:xml:ns:metalink">',
    '  <generator>Shoal</generator>',
    `  <published>${new Date(createdAtMs).toISOString()}</published>`,
    `  <file name="${escapeXml(name)}">`,
    `    <size>${sizeBytes}</size>`,
    ...(sha256 === undefined ? [] : [`    <hash type="sha-256">${sha256}</hash>`]),
    ...(pieces === undefined ? [] : pieceLines(pieces)),
    ...urls.map((url, index) => `    <url priority="${index + 1}">${escapeXml(url)}</url>`),
    '  </file>',
    '</metalink>',
    '',
  ];
  return Buffer.from(lines.join('\n'));
}

function pieceLines({
  sizeBytes,
  sha256s,
}: {
  readonly sizeBytes: number;
  readonly sha256s: Uint8Array;
}): string[] {
  const hex = Buffer.from(sha256s).toString('hex');
  const digests = hex.match(new RegExp(`.{${SHA256_SIZE_BYTES * 2}}`, 'g')) ?? [];
  return [
    `    <pieces length="${sizeBytes}" type="sha-256">`,
    ...digests.map((digest) => `      <hash>${digest}</hash>`),
    '    </pieces>',
  ];
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
};

/** Text for XML 1.0, in an attribute or an element; what XML can't hold at all becomes `_`. */
export function escapeXml(text: string): string {
  return text
    .toWellFormed()
    .replace(/[^\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, '_')
    .replace(/[&<>"]/g, (character) => ENTITIES[character] ?? character);
}
