/**
 * The conditions of reads and changes, in the order of RFC 9110 §13.2.2. Nothing here has a date of its last change,
 * so conditions on dates are not looked at (§13.1.3 and §13.1.4 say so).
 */
import { PreconditionFailed } from '@shoal/protocol';

/** A request with its headers in lower case, as Node gives them. */
export interface ConditionalRequest {
  readonly method: string;
  readonly headers: {
    readonly 'if-match'?: string | undefined;
    readonly 'if-none-match'?: string | undefined;
    readonly 'if-range'?: string | undefined;
    readonly range?: string | undefined;
  };
}

/**
 * Whether the reader has it already: 304. To be asked before the answer is chosen.
 * @param etags Of what is there, each strong and with its quotes.
 * @throws PreconditionFailed when it is not what If-Match wants.
 */
export function isNotModified(
  { headers }: Pick<ConditionalRequest, 'headers'>,
  etags: readonly string[],
): boolean {
  const { 'if-match': match, 'if-none-match': noneMatch } = headers;
  if (match !== undefined && !isListed(match, etags))
    throw new PreconditionFailed({ etag: etags[0] ?? '' });
  // Compared weakly, as a cache may have made the tag weak: `W/` makes no difference.
  return noneMatch !== undefined && isListed(noneMatch.replace(/(^|,\s*)W\//g, '$1'), etags);
}

/**
 * The conditions of a change, to be asked before it is made.
 * @throws PreconditionFailed
 */
export function checkChange(
  { headers }: Pick<ConditionalRequest, 'headers'>,
  etags: readonly string[],
): void {
  if (isNotModified({ headers }, etags)) throw new PreconditionFailed({ etag: etags[0] ?? '' });
}

/** The range that counts: that of a GET, of what If-Range names. */
export function rangeAsked(
  { method, headers }: ConditionalRequest,
  etag: string,
): string | undefined {
  const { range, 'if-range': ifRange } = headers;
  if (method !== 'GET') return undefined;
  return ifRange === undefined || ifRange.trim() === etag ? range : undefined;
}

const isListed = (list: string, etags: readonly string[]): boolean =>
  list
    .split(',')
    .map((item) => item.trim())
    .some((item) => item === '*' || etags.includes(item));
