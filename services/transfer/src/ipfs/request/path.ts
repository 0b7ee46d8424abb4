/** The rest of an address after `/ipfs/`: a CID in any spelling, and a path below it. */
import { type ReadCid, readCid } from '@shoal/blocks';
import { RequestInvalid } from '@shoal/protocol';

/** Segments below the root. */
const SEGMENTS_MAX = 128;

export interface IpfsPath {
  /** As it was asked for, escapes and all. */
  readonly asked: string;
  /** The part before `asked` that a proxy takes off. */
  readonly prefix: string;
  /** The query, without its `?`. */
  readonly search: string;
  readonly root: ReadCid;
  /** Decoded, none empty. */
  readonly segments: readonly string[];
  readonly hasFinalSlash: boolean;
}

/** @param url Path and query as they came. @throws HashInvalid, CidUnsupported, RequestInvalid */
export function readIpfsPath(url: string, prefix = ''): IpfsPath {
  const [asked, search] = splitAt(url, '?');
  const [first = '', ...rest] = asked
    .slice('/ipfs/'.length)
    .split('/')
    .map((segment) => decodeURIComponent(segment));
  const segments = rest.filter((segment) => segment !== '');
  if (segments.length > SEGMENTS_MAX)
    throw new RequestInvalid({ reason: `a path has at most ${SEGMENTS_MAX} segments` });
  const hasFinalSlash = asked.endsWith('/');
  return { asked, prefix, search, root: readCid(first), segments, hasFinalSlash };
}

function splitAt(text: string, mark: string): [string, string] {
  const at = text.indexOf(mark);
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
}
