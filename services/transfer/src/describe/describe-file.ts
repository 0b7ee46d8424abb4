/** A file's torrent and its Metalink: what clients of other protocols need to get it from our peers. */
import { createHash } from 'node:crypto';
import { codecOf, type DagEntry, digestOf } from '@shoal/blocks';
import { type Call, checkHash, isNotModified } from '@shoal/chassis';
import {
  DescriptionImpossible,
  type FileHash,
  type Pin,
  type transferRoutes,
} from '@shoal/protocol';
import { fileUrls, whyNoTorrent } from './alternates.ts';
import type { ListedBlocks } from '../fetch/listed-blocks.ts';
import { contentDisposition } from '../answer/file-headers.ts';
import type { PinLookups } from '../peers/pins.ts';
import { type HashPieces, PIECE_SIZE_BYTES, piecesOf } from './hash-pieces.ts';
import { listEntries, type Manifests } from '../file/manifests.ts';
import type { MemberView } from '../peers/member-view.ts';
import { METALINK_TYPE, metalinkOf, SHA256_SIZE_BYTES } from './metalink.ts';
import { TORRENT_TYPE, torrentOf } from './torrent.ts';

/** Pieces listed in a Metalink, 64 GiB: some 6 MB of XML. A larger file has its own hash alone. */
const METALINK_PIECES_MAX = 65_536;
/** The peers in it come and go: caches ask again after this. */
const MAX_AGE_S = 30;

export interface DescribeDeps {
  readonly pins: Pick<PinLookups, 'find'>;
  readonly view: MemberView;
  readonly listed: ListedBlocks;
  readonly manifests: Manifests;
  readonly hashPieces: HashPieces;
}

type DescribeRoute = typeof transferRoutes.getTorrent | typeof transferRoutes.getMetalink;
type DescribeCall = Call<DescribeRoute['params'], DescribeRoute['query'], undefined>;

interface MakeOptions {
  /** Whose share of the hashing it is. */
  readonly client: string;
  readonly signal: AbortSignal;
}

/** How a form is made of a pin. */
interface Form {
  readonly name: string;
  readonly type: string;
  readonly extension: string;
  readonly make: (pin: Pin, deps: DescribeDeps, options: MakeOptions) => Promise<Buffer>;
}

/** The handler of `GET|HEAD /files/:hash.torrent`. */
export const createGetTorrent = (deps: DescribeDeps) =>
  createDescribe(
    { name: 'torrent', type: TORRENT_TYPE, extension: '.torrent', make: makeTorrent },
    deps,
  );

/** The handler of `GET|HEAD /files/:hash.meta4`. */
export const createGetMetalink = (deps: DescribeDeps) =>
  createDescribe(
    { name: 'Metalink', type: METALINK_TYPE, extension: '.meta4', make: makeMetalink },
    deps,
  );

function createDescribe(form: Form, deps: DescribeDeps): (call: DescribeCall) => Promise<unknown> {
  return async ({ params, request, reply, signal }) => {
    const find = (hash: FileHash) => deps.pins.find(hash, { signal });
    await checkHash(request, params.hash, find);
    const pin = await find(params.hash);
    if (pin.kind !== 'file') refuse(pin, form.name, `it is a ${pin.kind}, and only files have one`);
    const body = await form.make(pin, deps, { client: request.client, signal });
    const etag = `"${createHash('sha256').update(body).digest('base64url')}"`;
    void reply.headers({
      'cache-control': `public, max-age=${MAX_AGE_S}`,
      'content-disposition': contentDisposition('attachment', `${pin.name}${form.extension}`),
      'content-type': form.type,
      etag,
      'x-content-type-options': 'nosniff',
    });
    // It is small: ranges of it are answered with all of it.
    return isNotModified(request, [etag]) ? reply.code(304).send() : reply.send(body);
  };
}

async function makeTorrent(
  pin: Pin,
  { view, hashPieces }: DescribeDeps,
  { client, ...options }: MakeOptions,
): Promise<Buffer> {
  const { name, sizeBytes, createdAtMs } = pin;
  const reason = whyNoTorrent(pin);
  if (reason !== undefined) refuse(pin, 'torrent', reason);
  const sha1s = await hashPieces(pin, { algorithm: 'sha1', form: 'torrent', client }, options);
  const urls = fileUrls(pin, view);
  return torrentOf({ name, sizeBytes, pieceSizeBytes: PIECE_SIZE_BYTES, sha1s, createdAtMs, urls });
}

async function makeMetalink(
  pin: Pin,
  deps: DescribeDeps,
  { client, ...options }: MakeOptions,
): Promise<Buffer> {
  const { name, sizeBytes, sha256, createdAtMs } = pin;
  const pieces = piecesOf(sizeBytes);
  const sha256s =
    pieces === 0 || pieces > METALINK_PIECES_MAX
      ? undefined
      : (piecesInCids(pin, await listEntries(pin, deps, options)) ??
        (await deps.hashPieces(pin, { algorithm: 'sha256', form: 'Metalink', client }, options)));
  return metalinkOf({
    name,
    sizeBytes,
    sha256,
    pieces: sha256s === undefined ? undefined : { sizeBytes: PIECE_SIZE_BYTES, sha256s },
    createdAtMs,
    urls: fileUrls(pin, deps.view),
  });
}

/**
 * The sha-256 of each piece, as the CIDs of its leaves state them: without reading a byte. Undefined
 * for a file that another program cut, in other places or with its bytes wrapped.
 */
export function piecesInCids(
  { sizeBytes: fileBytes }: Pick<Pin, 'sizeBytes'>,
  entries: readonly DagEntry[],
): Uint8Array | undefined {
  const holding = entries.filter(({ sizeBytes }) => sizeBytes > 0);
  const isCutAsPieces = holding.every(
    ({ cid, sizeBytes, offset }, index) =>
      codecOf(cid) === 'raw' &&
      offset === index * PIECE_SIZE_BYTES &&
      sizeBytes === Math.min(PIECE_SIZE_BYTES, fileBytes - offset),
  );
  if (!isCutAsPieces || holding.length !== piecesOf(fileBytes)) return undefined;
  const digests = new Uint8Array(holding.length * SHA256_SIZE_BYTES);
  for (const [index, { cid }] of holding.entries())
    digests.set(digestOf(cid), index * SHA256_SIZE_BYTES);
  return digests;
}

function refuse({ root }: Pin, form: string, reason: string): never {
  throw new DescriptionImpossible({ root, form, reason });
}
