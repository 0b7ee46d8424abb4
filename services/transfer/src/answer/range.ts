/** Which bytes a request asks for: RFC 9110 §14 (ranges), once its conditions hold. */
import { type ConditionalRequest, isNotModified, rangeAsked } from '@shoal/chassis';

/** The part to send: all of it, one range, nothing new (304), or no such range (416). */
export type Selection =
  | { readonly kind: 'whole' }
  | { readonly kind: 'range'; readonly start: number; readonly end: number }
  | { readonly kind: 'not-modified' }
  | { readonly kind: 'unsatisfiable' };

/**
 * Reads the conditions of a read. Of several ranges the first counts, and ranges that can't be read are
 * answered with the whole file, as the RFC allows both. `etag` is strong and includes its quotes.
 * @throws PreconditionFailed
 */
export function select(request: ConditionalRequest, etag: string, sizeBytes: number): Selection {
  if (isNotModified(request, [etag])) return { kind: 'not-modified' };
  const range = rangeAsked(request, etag);
  return range === undefined ? { kind: 'whole' } : parseRange(range, sizeBytes);
}

function parseRange(text: string, sizeBytes: number): Selection {
  const match = /^bytes=\s*(\d*)\s*-\s*(\d*)\s*(?:,[-\d\s,]*)?$/i.exec(text);
  const [, first = '', last = ''] = match ?? [];
  if (match === null || (first === '' && last === '')) return { kind: 'whole' };
  if (first === '') {
    const length = Math.min(Number(last), sizeBytes);
    if (length === 0) return { kind: 'unsatisfiable' };
    return { kind: 'range', start: sizeBytes - length, end: sizeBytes - 1 };
  }
  const start = Number(first);
  if (last !== '' && Number(last) < start) return { kind: 'whole' }; // not a range at all
  if (start >= sizeBytes) return { kind: 'unsatisfiable' };
  const end = last === '' ? sizeBytes - 1 : Math.min(Number(last), sizeBytes - 1);
  return { kind: 'range', start, end };
}
