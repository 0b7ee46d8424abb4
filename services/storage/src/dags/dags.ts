/** What this peer holds of a DAG, and marking it as wanted. */
import { cidOf, createBits, encodeBits, setBit } from '@shoal/blocks';
import {
  BlockNotFound,
  type BlockPlace,
  type Cid,
  type HaveMap,
  ManifestIncomplete,
  Problem,
} from '@shoal/protocol';
import { cidOfDigest, digestOfCid } from '../disk/block-record.ts';
import { type Blockstore } from '../store/blockstore.ts';
import type { DagListings, Listing } from './dag-listing.ts';

/** Index look-ups between two turns of the event loop, about 10 ms. */
const LOOKUPS_PER_TURN = 4096;

/** @throws BlockNotFound without the root; ManifestIncomplete without one of its nodes; ManifestInvalid. */
export async function haveMapOf(
  store: Blockstore,
  listings: DagListings,
  root: Cid,
): Promise<HaveMap> {
  const listing = await listHeld(store, listings, root);
  const bits = createBits(listing.blocks);
  let checkedAtMs: number | undefined;
  await forEachTurn(listing, (at) => {
    const digest = listing.digestAt(at);
    const record = store.findConfirmed(digest);
    if (record !== undefined) {
      setBit(bits, at);
      checkedAtMs = Math.min(checkedAtMs ?? Infinity, record.checkedAtMs);
    } else if (listing.isNodeAt(at) && store.find(digest) === undefined)
      throw new ManifestIncomplete({ root, cid: cidOfDigest(digest) });
  });
  return { root, blocks: listing.blocks, bits: encodeBits(bits), checkedAtMs };
}

/** Answers how many of the DAG's blocks are held. @throws as `haveMapOf`. */
export async function keepDag(
  store: Blockstore,
  listings: DagListings,
  root: Cid,
  replicas: number,
): Promise<number> {
  const listing = await listHeld(store, listings, root);
  let keptBlocks = 0;
  for (let from = 0; from < listing.blocks; from += LOOKUPS_PER_TURN) {
    const length = Math.min(LOOKUPS_PER_TURN, listing.blocks - from);
    const entries = Array.from({ length }, (_, at) => ({
      digest: listing.digestAt(from + at),
      isNode: listing.isNodeAt(from + at),
    }));
    keptBlocks += await store.keep(entries, replicas);
  }
  return keptBlocks;
}

/** The blocks at these places; without a CID where the DAG is not held, has a gap, or is shorter. */
export async function nameBlocks(
  store: Blockstore,
  listings: DagListings,
  places: readonly BlockPlace[],
): Promise<{ cid?: Cid }[]> {
  const named: { cid?: Cid }[] = [];
  for (const { root, index } of places) {
    const listing = await listHeld(store, listings, root).catch((error: unknown) => {
      if (error instanceof Problem) return undefined;
      throw error;
    });
    if (listing === undefined || index >= listing.blocks) named.push({});
    else {
      const codec = listing.isNodeAt(index) ? 'dag-pb' : 'raw';
      named.push({ cid: cidOf(codec, Buffer.from(listing.digestAt(index), 'hex')) });
    }
  }
  return named;
}

async function listHeld(store: Blockstore, listings: DagListings, root: Cid): Promise<Listing> {
  if (store.find(digestOfCid(root)) === undefined) throw new BlockNotFound({ cid: root });
  return listings.list(root);
}

async function forEachTurn({ blocks }: Listing, visit: (at: number) => void): Promise<void> {
  for (let at = 0; at < blocks; at += 1) {
    visit(at);
    if (at % LOOKUPS_PER_TURN === LOOKUPS_PER_TURN - 1)
      await new Promise((resolve) => setImmediate(resolve));
  }
}
