import { readSha256, routePath, type Sha256, transferRoutes } from '@shoal/protocol';
import { type Answer, ask, type CallOptions } from './call.ts';

/** A download that has begun: what the peer says of it, and its bytes. */
export interface Download<Bytes> {
  readonly name: string | undefined;
  readonly sizeBytes: number | undefined;
  /** From `Repr-Digest`: hex, of the whole file. The peer's word: compare it with the bytes. */
  readonly sha256: Sha256 | undefined;
  readonly body: Bytes;
}

/** A file; or where what has this hash is served, when it is a directory or another DAG. @throws as `call` */
export async function downloadFile<Bytes>(
  origin: string,
  hash: string,
  options: CallOptions<Bytes>,
): Promise<Download<Bytes> | { readonly location: string }> {
  const path = routePath(transferRoutes.getFile.path, { hash }, { download: true });
  const answer = await ask(origin, { path }, options);
  const { headers, body } = answer;
  const location = headers.get('location');
  if (location !== null) {
    await answer.text(); // a sentence, which the connection must be rid of
    return { location };
  }
  const length = headers.get('content-length');
  return {
    name: readFileName(headers.get('content-disposition') ?? undefined),
    sizeBytes: length === null ? undefined : Number(length),
    sha256: digestIn(headers),
    body,
  };
}

/** A DAG as a CAR, each block where a walk comes by it. @throws as `call` */
export async function downloadCar<Bytes>(
  origin: string,
  cid: string,
  options: CallOptions<Bytes>,
): Promise<Bytes> {
  const query = { format: 'car', 'car-dups': 'y', 'car-order': 'dfs' };
  const path = routePath(transferRoutes.getIpfs.path.replace('*', ':cid'), { cid }, query);
  return (await ask(origin, { path }, options)).body;
}

/** The file's name in Content-Disposition: `filename*` (RFC 8187) before `filename`. */
export function readFileName(header: string | undefined): string | undefined {
  const extended = /filename\*\s*=\s*UTF-8''([^;]+)/i.exec(header ?? '')?.[1];
  if (extended !== undefined)
    try {
      return decodeURIComponent(extended.trim());
    } catch {
      return undefined; // not percent-encoded UTF-8: the caller has a name of its own
    }
  return /filename\s*=\s*"((?:[^"\\]|\\.)*)"/i.exec(header ?? '')?.[1]?.replace(/\\(.)/g, '$1');
}

/** A header that can't be read states nothing. */
function digestIn(headers: Answer['headers']): Sha256 | undefined {
  try {
    return readSha256('Repr-Digest', headers.get('repr-digest') ?? undefined);
  } catch {
    return undefined;
  }
}
