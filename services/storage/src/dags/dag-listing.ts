/**
 * The blocks of DAGs in DAG order, for have-maps. Listing reads every manifest node, and a DAG never
 * changes under its root, so listings are cached (LRU), packed, up to a bound on blocks.
 *
 * Small nodes are read from the index without waiting, so a listing would block the event loop: it
 * yields now and then. Callers that ask for a root that is being listed share that listing (single-flight).
 */
import { type DagEntry, digestOf, walkDag } from '@shoal/blocks';
import type { Cid } from '@shoal/protocol';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Digest } from '../disk/block-record.ts';

const DIGEST_SIZE_BYTES = 32;
/** Entries between two turns of the event loop, some ten milliseconds; a node counts for `NODE_ENTRIES`. */
const ENTRIES_PER_TURN = 4096;
/** To read a node takes about as long as to pass this many leaves. */
const NODE_ENTRIES = 16;

export interface Listing {
  readonly blocks: number;
  digestAt(index: number): Digest;
  isNodeAt(index: number): boolean;
}

export interface DagListings {
  /** @throws ManifestIncomplete when a node is not held; ManifestInvalid. */
  list(root: Cid): Promise<Listing>;
}

export function createDagListings(deps: {
  readonly readNode: (cid: Cid) => Promise<Uint8Array | undefined>;
  /** Blocks over all the listings that are cached. */
  readonly blocksMax: number;
}): DagListings {
  const cached = new Map<Cid, Listing>(); // in the order of last use
  const underWay = new Map<Cid, Promise<Listing>>();
  let cachedBlocks = 0;

  const remember = (root: Cid, listing: Listing): void => {
    if (listing.blocks > deps.blocksMax || cached.has(root)) return;
    cached.set(root, listing);
    cachedBlocks += listing.blocks;
    for (const [oldest, { blocks }] of cached) {
      if (cachedBlocks <= deps.blocksMax) return;
      cached.delete(oldest);
      cachedBlocks -= blocks;
    }
  };
  const read = async (root: Cid): Promise<Listing> => {
    const listing = pack(await listInTurns(root, deps.readNode));
    remember(root, listing);
    return listing;
  };
  return {
    async list(root) {
      const known = cached.get(root);
      if (known !== undefined) {
        cached.delete(root);
        cached.set(root, known);
        return known;
      }
      const begun = underWay.get(root);
      if (begun !== undefined) return begun;
      const listing = read(root).finally(() => underWay.delete(root));
      underWay.set(root, listing);
      return listing;
    },
  };
}

async function listInTurns(
  root: Cid,
  readNode: (cid: Cid) => Promise<Uint8Array | undefined>,
): Promise<DagEntry[]> {
  const entries: DagEntry[] = [];
  let sinceTurn = 0;
  for await (const entry of walkDag(root, readNode)) {
    entries.push(entry);
    sinceTurn += entry.kind === 'node' ? NODE_ENTRIES : 1;
    if (sinceTurn < ENTRIES_PER_TURN) continue;
    sinceTurn = 0;
    await nextTurn();
  }
  return entries;
}

function pack(entries: readonly { readonly cid: Cid; readonly kind: 'node' | 'leaf' }[]): Listing {
  const digests = Buffer.allocUnsafeSlow(entries.length * DIGEST_SIZE_BYTES);
  const isNode = new Uint8Array(entries.length);
  for (const [at, { cid, kind }] of entries.entries()) {
    digests.set(digestOf(cid), at * DIGEST_SIZE_BYTES);
    isNode[at] = kind === 'node' ? 1 : 0;
  }
  return {
    blocks: entries.length,
    // The bytes were those of a digest.
    digestAt: (at) =>
      digests.toString('hex', at * DIGEST_SIZE_BYTES, (at + 1) * DIGEST_SIZE_BYTES) as Digest,
    isNodeAt: (at) => isNode[at] === 1,
  };
}
