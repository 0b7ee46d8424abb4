/** The blocks of a DAG that this peer holds, and marking them for a pin. */
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

/** Some of its blocks are retired: whether they are held from now on is being decided. */
export class HoldingUndecided extends Error {}

/** @throws BlockNotFound without the root; ManifestIncomplete without one of its nodes; ManifestInvalid. */
export async function haveMapOf(
  store: Blockstore,
  listings: DagListings,
  root: Cid,
): Promise<HaveMap> {
  return (await readHaveMap(store, listings, root)).haveMap;
}

/**
 * The same, for others to count copies by. A retired block is no copy, and its retirement is no loss: the
 * bytes stay when its peer finds that they are needed after all. So nothing is said until that is decided.
 * @throws HoldingUndecided, and as `haveMapOf`.
 */
export async function decidedHaveMapOf(
  store: Blockstore,
  listings: DagListings,
  root: Cid,
): Promise<HaveMap> {
  const { haveMap, retiredBlocks } = await readHaveMap(store, listings, root);
  if (retiredBlocks > 0) throw new HoldingUndecided(`${retiredBlocks} blocks are retired`);
  return haveMap;
}

async function readHaveMap(
  store: Blockstore,
  listings: DagListings,
  root: Cid,
): Promise<{ readonly haveMap: HaveMap; readonly retiredBlocks: number }> {
  const listing = await listHeld(store, listings, root);
  const bits = createBits(listing.blocks);
  let checkedAtMs: number | undefined;
  let retiredBlocks = 0;
  await forEachTurn(listing, (at) => {
    const digest = listing.digestAt(at);
    const record = store.findConfirmed(digest);
    if (record !== undefined) {
      setBit(bits, at);
      checkedAtMs = Math.min(checkedAtMs ?? Infinity, record.checkedAtMs);
      return;
    }
    const held = store.find(digest);
    if (held === undefined && listing.isNodeAt(at))
      throw new ManifestIncomplete({ root, cid: cidOfDigest(digest) });
    // Neither confirmed nor condemned.
    if (held?.condemnedAtMs === 0) retiredBlocks += 1;
  });
  const haveMap = { root, blocks: listing.blocks, bits: encodeBits(bits), checkedAtMs };
  return { haveMap, retiredBlocks };
}

/** Marks the blocks of a pinned DAG; answers how many of them are held. @throws as `haveMapOf`. */
export async function markDag(
  store: Blockstore,
  listings: DagListings,
  root: Cid,
  replicas: number,
): Promise<number> {
  const listing = await listHeld(store, listings, root);
  let heldBlocks = 0;
  for (let from = 0; from < listing.blocks; from += LOOKUPS_PER_TURN) {
    const length = Math.min(LOOKUPS_PER_TURN, listing.blocks - from);
    const blocks = Array.from({ length }, (_, at) => ({
      digest: listing.digestAt(from + at),
      isNode: listing.isNodeAt(from + at),
    }));
    heldBlocks += await store.mark(blocks, replicas);
  }
  return heldBlocks;
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

/** Reads a manifest node into memory of its own; undefined when it is not held. */
export async function readNodeFrom(
  store: Pick<Blockstore, 'read'>,
  cid: Cid,
): Promise<Uint8Array | undefined> {
  using block = await store.read(digestOfCid(cid));
  return block === undefined ? undefined : Uint8Array.from(block.bytes);
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
