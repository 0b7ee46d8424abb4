import { describe, expect, it } from '@jest/globals';
import { buildDirectory } from '@shoal/blocks';
import type { Cid } from '@shoal/protocol';
import { createDagListings } from '../src/dags/dag-listing.ts';

const BLOCKS = 1 + 40 + 40 * 40;

/** Three nodes that unfold to `BLOCKS`, and a count of how often one is read. */
async function unfolding() {
  const nodes = new Map<Cid, Uint8Array>();
  const put = async (below: readonly Cid[]): Promise<Cid> => {
    const entries = below.map((cid, at) => ({ name: `${at}`, cid, treeSizeBytes: 100 }));
    const built = await buildDirectory(entries);
    for (const { cid, bytes } of built.nodes) nodes.set(cid, bytes);
    return built.cid;
  };
  let root = await put([]);
  for (let level = 0; level < 2; level += 1)
    root = await put(Array.from<Cid>({ length: 40 }).fill(root));
  const reads = { count: 0 };
  const readNode = async (cid: Cid) => {
    reads.count += 1;
    return nodes.get(cid);
  };
  return { root, nodes, reads, readNode };
}

describe('a listing of nodes that are all at hand', () => {
  it('lets others have their turn', async () => {
    const { root, reads, readNode } = await unfolding();
    const listings = createDagListings({ readNode, blocksMax: 0 });
    const readsAtTurn = new Promise<number>((resolve) => setImmediate(() => resolve(reads.count)));
    expect((await listings.list(root)).blocks).toBe(BLOCKS);
    expect(reads.count).toBe(BLOCKS);
    expect(await readsAtTurn).toBeLessThanOrEqual(257);
  });

  it('is made once for all who ask at one time', async () => {
    const { root, reads, readNode } = await unfolding();
    const listings = createDagListings({ readNode, blocksMax: 0 });
    const [first, second] = await Promise.all([listings.list(root), listings.list(root)]);
    expect(second).toBe(first);
    expect(reads.count).toBe(BLOCKS);
    expect(await listings.list(root)).not.toBe(first); // too many blocks to remember
  });

  it('is made again after a failure', async () => {
    const { root, nodes, readNode } = await unfolding();
    const listings = createDagListings({ readNode, blocksMax: 0 });
    const rootBytes = nodes.get(root) ?? new Uint8Array();
    nodes.delete(root);
    await expect(listings.list(root)).rejects.toThrow('absent');
    nodes.set(root, rootBytes);
    expect((await listings.list(root)).blocks).toBe(BLOCKS);
  });
});
