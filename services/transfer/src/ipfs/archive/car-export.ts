/**
 * `/ipfs/{cid}/{path}?format=car`: the blocks of a path and of what it leads to, depth first, as a
 * stream. Readers check every block, and read on while it comes: a block that can't be had breaks the
 * connection, since a clean end would say that the DAG is whole.
 */
import { createHash } from 'node:crypto';
import {
  type BlockCid,
  codecOf,
  type DagEntry,
  parseCid,
  readUnixfs,
  walkDag,
} from '@shoal/blocks';
import { isNotModified, Shares, watchReader } from '@shoal/chassis';
import { checkedName, Overloaded } from '@shoal/protocol';
import type { BlockReader } from '../../fetch/any-blocks.ts';
import { carFrame, carHeader } from './car-frames.ts';
import { bytesIn, type CarQuery, readCarQuery } from './car-query.ts';
import { contentDisposition, IMMUTABLE } from '../../answer/file-headers.ts';
import { answerHead, type IpfsAsk, type IpfsOutcome } from '../request/ask.ts';
import { pathHeaders, locationOf } from '../request/headers.ts';
import { seekAhead } from '../../file/loose-file.ts';
import { CAR_TYPE, type Dups } from '../request/negotiate.ts';
import { linksOfNode } from '../../fetch/read-budget.ts';
import { fetchAhead, type Flow, type Piece, type Pieces } from '../../file/pieces.ts';
import { framed, type Sender } from '../../answer/send-body.ts';

/** Blocks remembered so that none comes twice, some 100 bytes each: 1 TiB of ours. */
const SEEN_MAX = 1024 * 1024;

interface Wanted {
  readonly entry: DagEntry;
}

interface CarForm {
  readonly isByAccept: boolean;
  readonly dups: Dups;
}

export function createCarExport({
  sender,
  carsMax,
}: {
  readonly sender: Sender;
  /** CARs sent at once, shared by clients. */
  readonly carsMax: number;
}): (ask: IpfsAsk, form: CarForm) => Promise<IpfsOutcome> {
  const shares = new Shares({ what: 'CARs being sent', placesMax: carsMax });

  return async (ask, form) => {
    const { call, reader, resolved } = ask;
    const carQuery = readCarQuery(call.query);
    const etag = etagOf(ask, carQuery, form);
    const headers = headersOf(ask, form, etag);
    if (isNotModified(call.request, [etag])) {
      answerHead(call, 304, headers);
      return 'not-modified';
    }
    using watched = watchReader(call.reply.raw);
    using place = await shares.take(call.request.client, {
      signal: call.signal,
      isSlow: watched.isSlow,
    });
    place.signal.addEventListener('abort', () => call.abort(place.signal.reason as Error));
    const { target } = resolved;
    if (target.kind === 'block') await assertThere(target, reader);
    if (call.request.method === 'HEAD') {
      answerHead(call, 200, headers);
      return 'complete';
    }
    return await sender.send(call, async (flow) => ({
      pieces: piecesOf(ask, carQuery, form.dups, flow),
      headOf: () => ({ status: 200, headers }),
      lengthBytes: undefined,
    }));
  };
}

/** A root that nobody has is a clean 404. */
async function assertThere({ cid }: BlockCid, reader: BlockReader): Promise<void> {
  if (codecOf(cid) === 'dag-pb') await reader.getNode(cid);
  else (await reader.fetch(cid)).release();
}

async function* piecesOf(
  { resolved, reader, call: { signal } }: IpfsAsk,
  carQuery: CarQuery,
  dups: Dups,
  flow: Flow,
): Pieces {
  yield { bytes: carHeader(resolved.target.asGiven), release: () => {} };
  const look = async ({ cid, kind }: DagEntry) => (kind === 'leaf' ? reader.locate(cid) : []);
  const blocks = fetchAhead(
    seekAhead(entriesOf({ resolved, reader }, carQuery, dups), look),
    async ({ entry: { cid, kind }, holders }, options): Promise<Piece> =>
      kind === 'leaf'
        ? reader.fetch(cid, { ...options, holders })
        : { bytes: (await reader.getNode(cid)) ?? new Uint8Array(), release: () => {} },
    flow,
    { signal },
  );
  for await (const { slice, block } of blocks) {
    yield* framed(carFrame(slice.entry, block.bytes.length), block);
  }
}

/** The blocks that a CAR is to have, in its order: those on the path first. */
async function* entriesOf(
  { resolved: { trail, target }, reader }: Pick<IpfsAsk, 'resolved' | 'reader'>,
  { scope, entityBytes }: CarQuery,
  dups: Dups,
): AsyncGenerator<Wanted, void, undefined> {
  const seen = new Set<string>();
  const isRepeated = (cid: string): boolean => {
    if (dups === 'y') return false;
    if (seen.has(cid)) return true;
    if (seen.size >= SEEN_MAX)
      throw new Overloaded({
        what: 'distinct blocks in this CAR (ask with car-dups=y)',
        limit: SEEN_MAX,
      });
    seen.add(cid);
    return false;
  };
  for (const block of trail) if (!isRepeated(block.cid)) yield { entry: entryOf(block) };
  if (target.kind === 'identity') return; // its bytes are in its name
  const { cid } = target;
  const isNode = codecOf(cid) === 'dag-pb';
  const only = { entry: entryOf(target) };
  if (scope === 'block' || !isNode) {
    if (!isRepeated(cid)) yield only;
    return;
  }
  const node = readUnixfs(cid, (await reader.getNode(cid)) ?? new Uint8Array());
  const isPart = entityBytes !== undefined && node.fileSizeBytes !== undefined;
  const range = isPart ? bytesIn(entityBytes, node.fileSizeBytes) : undefined;
  if (isPart && range === undefined) {
    if (!isRepeated(cid)) yield only; // wholly outside: as for `block`
    return;
  }
  let isRoot = true;
  using links = reader.holdLinks();
  const ownLinks = linksOfNode(node.links.length); // in memory until the walk ends
  const options = {
    scope,
    range,
    skip: isRepeated,
    onPending: (count: number) => links.set(ownLinks + count),
  };
  for await (const entry of walkDag(cid, reader.getNode, options)) {
    yield isRoot ? only : { entry };
    isRoot = false;
  }
}

function entryOf({ cid, asGiven }: BlockCid): DagEntry {
  const spelling = parseCid(asGiven).version === 0 ? { isV0: true as const } : {};
  const kind = codecOf(cid) === 'raw' ? 'leaf' : 'node';
  return { cid, kind, sizeBytes: 0, offset: 0, ...spelling };
}

/** Our CARs of one DAG are the same to the byte, so it is a strong one; path and parameters are in it. */
function etagOf(
  { resolved: { target, roots } }: IpfsAsk,
  { scope, entityBytes }: CarQuery,
  { dups }: CarForm,
): string {
  const facts = JSON.stringify([roots, scope, entityBytes?.from, entityBytes?.to, dups]);
  const digest = createHash('sha256').update(facts).digest('base64url').slice(0, 16);
  return `"${target.asGiven}.car.${digest}"`;
}

function headersOf(
  { call: { query }, path, resolved: { target, roots } }: IpfsAsk,
  { isByAccept, dups }: CarForm,
  etag: string,
): Record<string, string> {
  const chosen = { format: 'car', 'car-version': '1', 'car-order': 'dfs', 'car-dups': dups };
  return {
    'accept-ranges': 'none',
    'cache-control': IMMUTABLE,
    'content-disposition': contentDisposition(
      'attachment',
      checkedName(query.filename) ?? `${target.asGiven}.car`,
    ),
    ...(isByAccept ? { 'content-location': locationOf(path, chosen) } : {}),
    'content-type': `${CAR_TYPE}; version=1; order=dfs; dups=${dups}`,
    etag,
    'x-content-type-options': 'nosniff',
    ...pathHeaders(path, roots),
  };
}
