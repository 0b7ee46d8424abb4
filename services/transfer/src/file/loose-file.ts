/**
 * Bytes of a file that no pin knows as such: part of a pinned directory, or of a DAG that is only held.
 *
 * Its DAG is walked as it is sent, along the wanted range alone: blocks outside of it may be
 * missing. Leaves are looked for some way ahead of the window, many with one question. Sizes are what
 * parents claim, so each part must begin where the one before it ended.
 */
import { type DagEntry, type GetNode, hashBlock, walkDag } from '@shoal/blocks';
import {
  type Cid,
  CIDS_PER_BATCH_MAX,
  ManifestInvalid,
  type Member,
  NotCached,
} from '@shoal/protocol';
import type { BlockReader } from '../fetch/any-blocks.ts';
import { LEAF_FETCH_COST_BYTES } from '../fetch/read-budget.ts';
import {
  type ByteRange,
  fetchAhead,
  type Flow,
  inPieces,
  type Piece,
  type Pieces,
} from './pieces.ts';

/** Cost of asking whether a leaf is here, as bytes of nodes: a file may have a million. */
const LEAF_COST_BYTES = 256;

/** A DAG to read: a block's, or one whose root is inlined in an identity CID. */
export type LooseRoot = { readonly cid: Cid } | { readonly bytes: Uint8Array };

/** The part of one block that is wanted: of its file bytes, `from` (included) to `to` (excluded). */
export interface Slice {
  readonly entry: DagEntry;
  readonly from: number;
  readonly to: number;
}

/** One whose block is being looked for. */
export type Sought<S extends Slice = Slice> = S & { readonly holders: Promise<readonly Member[]> };

/**
 * The bytes of a range. When others may not be asked, missing blocks are known before this resolves.
 * @throws NotCached; what it yields fails with BlockAbsent, BlockUnavailable, ManifestInvalid.
 */
export async function openLooseFile(
  root: LooseRoot,
  range: ByteRange,
  reader: BlockReader,
  flow: Flow,
  { signal }: { signal: AbortSignal },
): Promise<Pieces> {
  if (reader.isLocalOnly)
    for await (const { entry } of slicesIn(root, range, reader)) {
      if (entry.inline !== undefined) continue;
      reader.spend(entry.cid, LEAF_COST_BYTES);
      if (!(await reader.isHere(entry.cid))) throw new NotCached({ cid: entry.cid });
    }
  const slices = seekAhead(slicesIn(root, range, reader), (entry) => seek(entry, reader));
  const fetch = (slice: Sought, options: { signal: AbortSignal }) =>
    fetchSought(slice, root, reader, options);
  return inPieces(fetchAhead(slices, fetch, flow, { signal }));
}

/** The parts of blocks that make up a range of a file. @throws ManifestInvalid when they do not fit. */
export async function* slicesIn(
  root: LooseRoot,
  { start, end }: ByteRange,
  { getNode, holdLinks }: Pick<BlockReader, 'getNode' | 'holdLinks'>,
): AsyncGenerator<Slice, void, undefined> {
  const { cid, get } = rooted(root, getNode);
  using links = holdLinks();
  const range = { start, end };
  const onPending = (count: number) => links.set(count);
  let at = start;
  for await (const entry of walkDag(cid, get, { range, withInline: true, onPending })) {
    const from = Math.max(0, start - entry.offset);
    const to = Math.min(entry.sizeBytes, end + 1 - entry.offset);
    if (from >= to) continue;
    if (entry.offset + from !== at)
      throw new ManifestInvalid({ cid, reason: 'its sizes do not fit' });
    at += to - from;
    yield { entry, from, to };
  }
  if (at !== end + 1) throw new ManifestInvalid({ cid, reason: 'it is shorter than it says' });
}

/** A root in an identity CID has a name for the walk alone. */
function rooted(root: LooseRoot, getNode: GetNode): { cid: Cid; get: GetNode } {
  if ('cid' in root) return { cid: root.cid, get: getNode };
  const own = hashBlock('dag-pb', root.bytes);
  return { cid: own, get: async (cid) => (cid === own ? root.bytes : getNode(cid)) };
}

const NOBODY: Promise<readonly Member[]> = Promise.resolve([]);

/** Looks for a leaf; nodes were read by the walk, and bytes in links need no looking for. */
export const seek = ({ cid, kind, inline }: DagEntry, reader: BlockReader) =>
  kind === 'node' || inline !== undefined ? NOBODY : reader.locate(cid);

/**
 * Begins to look for the blocks of what comes next, as many as go into one question. A failure further
 * on comes after what was found before it.
 */
export async function* seekAhead<S extends { readonly entry: DagEntry }>(
  slices: AsyncIterable<S>,
  look: (entry: DagEntry) => Promise<readonly Member[]>,
): AsyncGenerator<S & { readonly holders: Promise<readonly Member[]> }, void, undefined> {
  let batch: S[] = [];
  let failure: { readonly error: unknown } | undefined;
  const sought = () => {
    const found = batch.map((slice) => ({ ...slice, holders: look(slice.entry) }));
    for (const { holders } of found) holders.catch(() => {}); // read when its turn comes, if ever
    batch = [];
    return found;
  };
  try {
    for await (const slice of slices) {
      batch.push(slice);
      if (batch.length === CIDS_PER_BATCH_MAX) yield* sought();
    }
  } catch (error) {
    failure = { error };
  }
  yield* sought();
  if (failure !== undefined) throw failure.error;
}

/** Fetches what was looked for; the caller releases it. @throws BlockAbsent, BlockUnavailable */
export async function fetchSought(
  { entry: { cid, kind, inline }, holders }: Sought,
  root: LooseRoot,
  reader: BlockReader,
  { signal }: { signal: AbortSignal },
): Promise<Piece> {
  if (inline !== undefined) return { bytes: inline, release: () => {} };
  if (kind === 'leaf') {
    reader.spend(cid, LEAF_FETCH_COST_BYTES);
    return reader.fetch(cid, { holders, signal });
  }
  const bytes = await rooted(root, reader.getNode).get(cid);
  return { bytes: bytes ?? new Uint8Array(), release: () => {} };
}
