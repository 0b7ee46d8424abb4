/** Which bytes a request asks for: RFC 9110 §13 (conditions) and §14 (ranges). */

/** The part to send: all of it, one range, nothing new (304), or no such range (416). */
export type Selection =
  | { readonly kind: 'whole' }
  | { readonly kind: 'range'; readonly start: number; readonly end: number }
  | { readonly kind: 'not-modified' }
  | { readonly kind: 'unsatisfiable' };

interface Conditions {
  readonly range?: string | undefined;
  readonly 'if-range'?: string | undefined;
  readonly 'if-none-match'?: string | undefined;
}

/**
 * Reads the conditions of a GET. Of several ranges the first counts, and ranges that can't be read are
 * answered with the whole file, as the RFC allows both. `etag` is strong and includes its quotes.
 */
export function select(headers: Conditions, etag: string, sizeBytes: number): Selection {
  if (isNotModified(headers, [etag])) return { kind: 'not-modified' };
  const { range } = headers;
  if (range === undefined) return { kind: 'whole' };
  const ifRange = headers['if-range'];
  if (ifRange !== undefined && ifRange.trim() !== etag) return { kind: 'whole' };
  return parseRange(range, sizeBytes);
}

/** Whether the reader has one of these already. Each is strong and includes its quotes. */
export function isNotModified(headers: Conditions, etags: readonly string[]): boolean {
  const noneMatch = headers['if-none-match'];
  return noneMatch !== undefined && etags.some((etag) => isListed(noneMatch, etag));
}

/** If-None-Match compares weakly: `W/` makes no difference. */
function isListed(list: string, etag: string): boolean {
  return list
    .split(',')
    .map((item) => item.trim().replace(/^W\//, ''))
    .some((item) => item === '*' || item === etag);
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
