/** Headers that every answer below `/ipfs/` shares. */
import type { IpfsPath } from './path.ts';

/** The headers that pages may send and see; that pages may read at all is set by the chassis. (The gateway specification's list.) */
export const CORS_HEADERS: Readonly<Record<string, string>> = {
  'access-control-allow-headers': 'Content-Type, Range, User-Agent, X-Requested-With',
  'access-control-allow-methods': 'GET, HEAD, OPTIONS',
  'access-control-expose-headers':
    'Content-Range, Content-Length, X-Ipfs-Path, X-Ipfs-Roots, X-Chunked-Output, X-Stream-Output',
};

/** Both together: Kubo refuses a block whose headers are over 2 KiB, a proxy those over some 16. */
export const PATH_HEADERS_MAX_LENGTH = 4096;

/** The path that was asked for, and the roots along it, unless that takes more characters than `lengthMax`. */
export function pathHeaders(
  { asked }: Pick<IpfsPath, 'asked'>,
  roots: readonly string[],
  lengthMax = PATH_HEADERS_MAX_LENGTH,
): Record<string, string> {
  const headers = { 'x-ipfs-path': asked, 'x-ipfs-roots': roots.join(',') };
  const length = headers['x-ipfs-path'].length + headers['x-ipfs-roots'].length;
  return length <= lengthMax ? headers : {};
}

/** The address of what `Accept` alone chose (`Content-Location`). */
export function locationOf(
  { asked, search }: Pick<IpfsPath, 'asked' | 'search'>,
  chosen: Readonly<Record<string, string>>,
): string {
  const query = new URLSearchParams(search);
  for (const [name, value] of Object.entries(chosen)) query.set(name, value);
  return `${asked}?${query.toString()}`;
}
