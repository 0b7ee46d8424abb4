/**
 * The headers of a form's parts (RFC 7578 §4), read strictly. A parser that can't read a part's headers
 * commonly leaves the part out and goes on; for a store that would be a file lost with a 201. So anything that
 * can't be read here is a fault of the whole form, with a reason that names it.
 */

const LINE_END = '\r\n';
/** RFC 9110 §5.6.2. */
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
/** One parameter of a header: its name, then its value, quoted or bare. */
const PARAMETER = /^\s*;\s*([^\s=;"]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;"\s]*))/s;
/** Of Content-Transfer-Encoding: those that leave the bytes as they are. */
const PLAIN_ENCODINGS: readonly string[] = ['7bit', '8bit', 'binary'];

export interface PartHeaders {
  /** Of the field; undefined when the part has no name. */
  readonly name: string | undefined;
  /** Kind of the content disposition, in lower case; undefined when there is none. */
  readonly disposition: string | undefined;
}

/** Why a part's file name would be kept as another one, if it would. */
export const NOT_UTF8 = 'its file name is not valid UTF-8';
/** A name in RFC 8187's form, which says that it is UTF-8. */
const EXTENDED_UTF8 = /^utf-8'[^']*'(.*)$/is;

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
  return readDisposition(headers.get('content-disposition'));
}

function readDisposition(header: string | undefined): PartHeaders | { readonly fault: string } {
  if (header === undefined) return { disposition: undefined, name: undefined };
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
  const extended = EXTENDED_UTF8.exec(parameters.get('filename*') ?? '')?.[1];
  if (extended !== undefined && !isEncodedUtf8(extended)) return { fault: NOT_UTF8 };
  return { disposition: disposition.toLowerCase(), name: parameters.get('name') };
}

function isEncodedUtf8(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}
