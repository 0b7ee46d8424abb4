/**
 * Where else a file is served, and what describes it: the addresses in a torrent and in a Metalink,
 * and the `Link` header (RFC 8288) of the file itself. Addresses are those that members signed: a
 * client that came by another name of a peer (a proxy's) is not sent there.
 */
import { relativeReference } from '@shoal/chassis';
import type { Member, Pin } from '@shoal/protocol';
import { partitionOf } from '@shoal/blocks';
import { piecesOf } from './hash-pieces.ts';
import { METALINK_TYPE } from './metalink.ts';
import type { MemberView } from '../peers/member-view.ts';
import { TORRENT_TYPE } from './torrent.ts';

/** Addresses in one torrent or Metalink: more than any client asks at once. */
const URLS_MAX = 16;
/** Other addresses in one `Link` header: it is sent with every range of a file. */
const DUPLICATES_MAX = 3;
/** Pieces of a torrent, 256 GiB: past some 10 MB of metainfo clients refuse it. */
export const TORRENT_PIECES_MAX = 262_144;

/**
 * The file at every peer that is up and stays, this one first, since the client reaches it. The
 * order of the others depends on the file, so that clients that take the first few spread over all.
 */
export function fileUrls({ root }: Pick<Pin, 'root'>, view: MemberView): string[] {
  const urlAt = ({ http }: Member) => `${http.gateway}/files/${root}`;
  const alive = view.placement(partitionOf(root)).filter(({ state }) => state === 'alive');
  const others = alive.filter(({ isSelf }) => !isSelf);
  const self = view.get(view.self);
  return [...(self === undefined ? [] : [self]), ...others].slice(0, URLS_MAX).map(urlAt);
}

/** The `Link` header of a file's answer to a request for `url`. */
export function linkHeader(
  pin: Pick<Pin, 'root' | 'sizeBytes'>,
  view: MemberView,
  { url }: { readonly url: string },
): string {
  const [, ...others] = fileUrls(pin, view);
  // Relative, since a proxy may serve us below a path of its own.
  const path = relativeReference(url, `/files/${pin.root}`);
  const links = [
    `<${relativeReference(url, `/ipfs/${pin.root}`)}>; rel="canonical"`,
    `<${path}.meta4>; rel="describedby"; type="${METALINK_TYPE}"`,
    ...(whyNoTorrent(pin) === undefined
      ? [`<${path}.torrent>; rel="describedby"; type="${TORRENT_TYPE}"`]
      : []),
    ...others.slice(0, DUPLICATES_MAX).map((url) => `<${url}>; rel="duplicate"`),
  ];
  return links.join(', ');
}

/** Why a file can't be given as a torrent, in words for a person; undefined when it can. */
export function whyNoTorrent({ sizeBytes }: Pick<Pin, 'sizeBytes'>): string | undefined {
  if (sizeBytes === 0) return 'it is empty, and a torrent has at least one piece';
  if (piecesOf(sizeBytes) > TORRENT_PIECES_MAX)
    return `it has more than ${TORRENT_PIECES_MAX} pieces of 1 MiB`;
  return undefined;
}
