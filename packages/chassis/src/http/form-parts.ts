/**
 * What a form says of its parts (RFC 7578 §4), read strictly. A parser that can't read a part's headers
 * commonly leaves the part out and goes on; for a store that would be a file lost with a 201. So whatever
 * can't be read here is a fault of the whole form, with a reason that names it.
 */

/** RFC 2046 §5.1.1 says 70. Past it: 400. */
const BOUNDARY_MAX_CHARS = 70;
const LINE_END = '\r\n';
/** RFC 9110 §5.6.2. */
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
/** One parameter of a header: its name, then its value with quotes or without. */
const PARAMETER = /^\s*;\s*([^\s=;"]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;"\s]*))/s;
/** Of Content-Transfer-Encoding: those that leave the bytes as they are. */
const PLAIN_ENCODINGS: readonly string[] = ['7bit', '8bit', 'binary'];

export interface PartHeaders {
  /** Of the field; undefined when the part has no name. */
  readonly name: string | undefined;
  /** As written; undefined when there is none, which differs from an empty one. */
  readonly fileName: string | undefined;
  /** Without parameters, in lower case; empty when there is none. */
  readonly contentType: string;
  /** Kind of the content disposition, in lower case; undefined when there is none. */
  readonly disposition: string | undefined;
}

/** The boundary that a content type states; undefined when it is no form, or states none. */
export function boundaryOf(contentType: string | undefined): string | undefined {
  const match = /^multipart\/form-data\s*;.*?\bboundary=(?:"([^"]+)"|([^\s;,"]+))/i.exec(
    contentType ?? '',
  );
  const boundary = match?.[1] ?? match?.[2];
  return boundary === undefined || boundary.length > BOUNDARY_MAX_CHARS ? undefined : boundary;
}

/** The headers of a part, without the empty line behind them; or why they can't be read. */
export function readPartHeaders(
  text: string,
  { headersMax }: { readonly headersMax: number },
): PartHeaders | { readonly fault: string } {
  const headers = new Map<string, string>();
  const lines = text.replaceAll(/\r\n[ \t]+/g, ' ').split(LINE_END);
  if (lines.length > headersMax) return { fault: `it has more than ${headersMax} headers` };
  for (const line of lines) {
    if (line === '' && lines.length === 1) break; // a part may have none
    const colon = line.indexOf(':');
    const name = line.slice(0, Math.max(0, colon)).toLowerCase();
    if (/[\r\n]/.test(line))
      return { fault: 'a header has a line break in it; in names, it is percent-encoded' };
    if (!TOKEN.test(name)) return { fault: 'one of its headers is not one' };
    if (headers.has(name)) return { fault: `it has two headers "${name}"` };
    headers.set(name, line.slice(colon + 1).trim());
  }
  const encoding = headers.get('content-transfer-encoding')?.toLowerCase() ?? 'binary';
  if (!PLAIN_ENCODINGS.includes(encoding))
    return { fault: `its Content-Transfer-Encoding is "${encoding}"; bytes are taken as they are` };
  const disposition = readDisposition(headers.get('content-disposition'));
  if ('fault' in disposition) return disposition;
  const contentType = headers.get('content-type')?.split(';', 1).join().trim().toLowerCase() ?? '';
  return { ...disposition, contentType };
}

function readDisposition(
  header: string | undefined,
): Omit<PartHeaders, 'contentType'> | { readonly fault: string } {
  if (header === undefined) return { disposition: undefined, name: undefined, fileName: undefined };
  const disposition = header.split(';', 1).join().trim();
  const parameters = new Map<string, string>();
  let rest = header.slice(header.indexOf(disposition) + disposition.length);
  for (let match; (match = PARAMETER.exec(rest)) !== null; rest = rest.slice(match[0].length)) {
    const [, name = '', quoted, bare = ''] = match;
    if (parameters.has(name.toLowerCase()))
      return { fault: `its Content-Disposition says "${name}" twice` };
    parameters.set(name.toLowerCase(), quoted?.replaceAll(/\\(.)/gs, '$1') ?? bare);
  }
  if (!TOKEN.test(disposition) || !/^\s*;?\s*$/.test(rest))
    return { fault: "its Content-Disposition can't be read" };
  return {
    disposition: disposition.toLowerCase(),
    name: parameters.get('name'),
    fileName: parameters.get('filename'),
  };
}
