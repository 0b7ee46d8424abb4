/** The headers of tus 1.0, as requests state them. Sentences in quotes are the specification's. */
import { MediaTypeUnsupported, TUS_BODY_TYPE } from '@shoal/protocol';
import type { FastifyRequest } from 'fastify';

/** "The Tus-Extension response header MUST be a comma-separated list of the extensions supported by the Server." */
export const TUS_EXTENSIONS =
  'creation,creation-with-upload,creation-defer-length,termination,expiration';

/** A refusal by tus itself: a status and a line of text, which is all that it defines. */
export class TusRefusal extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** Keeps a byte order mark, which is part of a name. */
const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export type Metadata = Record<string, string | null>;

export interface TusHeaders {
  readonly offset: number | undefined;
  readonly length: number | undefined;
  readonly isLengthDeferred: boolean;
  readonly metadata: Metadata | undefined;
  readonly isConcat: boolean;
  /** Whether the body is a part of an upload. */
  readonly hasPart: boolean;
  readonly contentLength: number | undefined;
}

/**
 * @throws TusRefusal 400 for a header that is not what the specification says.
 * @throws MediaTypeUnsupported for a body of another type: "If the server receives a PATCH request with any
 *   other Content-Type it SHOULD return a 415 Unsupported Media Type status." Left alone, what a creation brings
 *   would be lost.
 */
export function readHeaders({ headers }: FastifyRequest, method: string): TusHeaders {
  const text = (name: string): string | undefined => {
    const value = headers[name];
    return typeof value === 'string' ? value : undefined;
  };
  const contentLength = text('content-length');
  const isTyped = text('content-type')?.split(';', 1)[0]?.trim().toLowerCase() === TUS_BODY_TYPE;
  const isFramed = text('transfer-encoding') !== undefined || Number(contentLength ?? 0) > 0;
  const metadata = text('upload-metadata');
  const read = {
    // "The Upload-Offset […] value MUST be a non-negative integer."
    offset: countOf('upload-offset', text('upload-offset')),
    // "The Upload-Length […] value MUST be a non-negative integer."
    length: countOf('upload-length', text('upload-length')),
    isLengthDeferred: isDeferred(text('upload-defer-length')),
    metadata: metadata === undefined ? undefined : readMetadata(metadata),
    isConcat: isConcat(text('upload-concat')),
    hasPart: isTyped,
    contentLength: contentLength === undefined ? undefined : Number(contentLength),
  };
  // Without a body a creation may state any type: clients add one of their own.
  if (!isTyped && (method === 'PATCH' || (method === 'POST' && isFramed)))
    throw new MediaTypeUnsupported({ expected: TUS_BODY_TYPE });
  return read;
}

/**
 * "The Upload-Metadata request and response header MUST consist of one or more comma-separated key-value
 * pairs. […] The key MUST NOT contain spaces and commas and MUST NOT be empty. The key SHOULD be ASCII
 * encoded and the value MUST be Base64 encoded. All keys MUST be unique. The value MAY be empty."
 * @throws TusRefusal
 */
export function readMetadata(text: string): Metadata {
  const metadata = new Map<string, string | null>();
  for (const pair of text.split(',')) {
    const [key = '', value = '', ...more] = pair.split(' ');
    const isKey = /^[\u0021-\u002b\u002d-\u007f]+$/.test(key);
    const isValue = value.length % 4 === 0 && /^[\d+/A-Za-z]*={0,2}$/.test(value);
    if (!isKey || !isValue || more.length > 0 || metadata.has(key))
      throw invalid('upload-metadata');
    metadata.set(key, value === '' ? null : textOf(key, Buffer.from(value, 'base64')));
  }
  return Object.fromEntries(metadata);
}

/** Kept as text, and answered again: bytes that are none would become others. @throws TusRefusal */
function textOf(key: string, bytes: Buffer): string {
  try {
    return UTF8.decode(bytes);
  } catch {
    throw new TusRefusal(400, `Invalid upload-metadata: ${key} is not valid UTF-8\n`);
  }
}

/** The same header again, as HEAD answers it. */
export function writeMetadata(metadata: Metadata): string {
  return Object.entries(metadata)
    .map(([key, value]) =>
      value === null ? key : `${key} ${Buffer.from(value, 'utf8').toString('base64')}`,
    )
    .join(',');
}

function countOf(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const count = Number(text);
  if (!Number.isInteger(count) || count < 0 || String(count) !== text) throw invalid(name);
  return count;
}

/** "Its value MUST be 1. If the length of an upload is not deferred, this header MUST be omitted." */
function isDeferred(text: string | undefined): boolean {
  if (text !== undefined && text !== '1') throw invalid('upload-defer-length');
  return text === '1';
}

function isConcat(text: string | undefined): boolean {
  if (text !== undefined && text !== 'partial' && !text.startsWith('final;'))
    throw invalid('upload-concat');
  return text !== undefined;
}

const invalid = (name: string): TusRefusal => new TusRefusal(400, `Invalid ${name}\n`);
