/** Deleted files that can be brought back, on a store that is full: they give way, the oldest first. */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createDagBuilder } from '@shoal/blocks';
import { type Cid, MiB, type StorageStats, type SweepReport } from '@shoal/protocol';
import { type Client, createPeerFolder, newBlock, newLease, type PeerFolder } from './harness.ts';
import { startNeighbours } from './neighbours.ts';

const CAPACITY_BYTES = 4 * MiB;

describe('a full store', () => {
  let peer: PeerFolder;
  let service: Awaited<ReturnType<PeerFolder['start']>>;
  let client: Client;
  let others: Awaited<ReturnType<typeof startNeighbours>>;

  const start = async (more: Record<string, string> = {}): Promise<void> => {
    service = await peer.start({
      DISCOVERY_URL: others.origin,
      TRANSFER_URL: others.origin,
      STORAGE_SWEEP_GRACE_MS: '0',
      STORAGE_CAPACITY_BYTES: String(CAPACITY_BYTES),
      STORAGE_REPAIR_RESERVE_SHARE: '0',
      ...more,
    });
    client = peer.client(service.origin);
  };
  /** A file of one block of a MiB. */
  const putFile = async (): Promise<Cid> => {
    const { cid, bytes } = newBlock(MiB);
    expect((await client.put(cid, bytes)).status).toBe(200);
    return cid;
  };
  /** Three deleted files, oldest first, and a live one: the store is full. */
  const fill = async (): Promise<{ live: Cid; deleted: Cid[] }> => {
    const live = await putFile();
    const deleted = [await putFile(), await putFile(), await putFile()];
    others.pins.set(live, 3);
    others.deleted = deleted;
    return { live, deleted };
  };
  const upload = () => {
    const { cid, bytes } = newBlock(MiB);
    return client.put(cid, bytes, newLease());
  };
  const askRoom = async (neededBytes: number) => {
    const { body } = await client.json('POST', '/room', { neededBytes });
    return body as unknown as StorageStats;
  };
  const sweep = async () => (await client.json('POST', '/sweep')).body as unknown as SweepReport;

  beforeEach(async () => {
    peer = await createPeerFolder();
    others = await startNeighbours(peer);
  });
  afterEach(async () => {
    await service[Symbol.asyncDispose]();
    await others[Symbol.asyncDispose]();
    await peer[Symbol.asyncDispose]();
  });

  it('keeps deleted files through sweeps, and gives up the oldest before it refuses a block', async () => {
    await start();
    const { live, deleted } = await fill();
    for (let round = 0; round < 3; round += 1) await sweep();
    expect(await client.have([live, ...deleted])).toEqual([true, true, true, true]);
    expect((await upload()).status).toBe(200);
    expect(others.purged).toEqual(deleted.slice(0, 1));
    expect(await client.have([live, ...deleted])).toEqual([true, false, true, true]);
    const again = newBlock(MiB);
    expect((await client.put(again.cid, again.bytes)).status).toBe(200); // a repair
    expect(others.purged).toEqual(deleted.slice(0, 2));
    expect(await client.have([live, ...deleted])).toEqual([true, false, false, true]);
  });

  it('makes room for a whole upload at once, and gives up nothing for one that would not fit', async () => {
    await start();
    const { live, deleted } = await fill();
    expect((await askRoom(4 * MiB)).freeBytes).toBe(0);
    expect(others.purged).toEqual([]);
    expect(await client.have(deleted)).toEqual([true, true, true]);
    expect((await askRoom(2 * MiB)).freeBytes).toBe(2 * MiB);
    expect(others.purged).toEqual(deleted.slice(0, 2));
    expect(await client.have([live, ...deleted])).toEqual([true, false, false, true]);
    expect((await askRoom(2 * MiB)).freeBytes).toBe(2 * MiB); // there is room already
    expect(others.purged).toEqual(deleted.slice(0, 2));
  });

  it('counts a block for the last deleted file that needs it, and not at all when a live one does', async () => {
    await start();
    const leaves = [newBlock(MiB), newBlock(MiB), newBlock(MiB)];
    for (const { cid, bytes } of leaves) await client.put(cid, bytes);
    const fileOf = async (...which: number[]): Promise<Cid> => {
      const dag = createDagBuilder();
      for (const at of which) dag.addLeaf({ cid: leaves[at]?.cid as Cid, sizeBytes: MiB });
      const { root, nodes } = dag.finish();
      for (const { bytes } of nodes) await client.add(Uint8Array.from(bytes), 'dag-pb');
      return root;
    };
    const [old, shared, last] = [await fileOf(0, 0), await fileOf(1, 1), await fileOf(1, 2)];
    others.pins.set(await fileOf(0, 0, 0), 3); // has all that is large of the oldest
    others.deleted = [old, shared, last];
    const { freeBytes } = (await client.stats()) as unknown as StorageStats;
    // Without the last one nothing of a MiB would be free, with it two are.
    expect((await askRoom(freeBytes + MiB)).freeBytes).toBeGreaterThanOrEqual(freeBytes + MiB);
    expect(others.purged).toEqual([old, shared, last]);
    expect(await client.have(leaves.map(({ cid }) => cid))).toEqual([true, false, false]);
  });

  it('gives up nothing while pins may be unknown, for what is too young, or for a copy that yields', async () => {
    await start({ STORAGE_SWEEP_GRACE_MS: '3600000' });
    const { deleted } = await fill();
    expect((await upload()).status).toBe(507); // a purge would free nothing
    await service[Symbol.asyncDispose]();
    await start();
    others.isCurrent = false;
    expect((await upload()).status).toBe(507);
    others.isCurrent = true;
    const { cid, bytes } = newBlock(MiB);
    expect((await client.json('PUT', `/blocks/${cid}?yields=true`, bytes)).status).toBe(507);
    expect(others.purged).toEqual([]);
    expect(await client.have(deleted)).toEqual([true, true, true]);
  });

  it('sweeps what is garbage already before it gives up anything', async () => {
    await start();
    const { live, deleted } = await fill();
    others.deleted = deleted.slice(1); // the first one was purged by another peer
    expect((await upload()).status).toBe(200);
    others.deleted = [];
    expect((await upload()).status).toBe(200);
    expect(others.purged).toEqual([]);
    expect(await client.have([live, ...deleted])).toEqual([true, false, false, false]);
  });

  it('is not held up by a deleted file that can not be listed here', async () => {
    await start();
    const { live } = await fill();
    const dag = createDagBuilder();
    for (const leaf of [newBlock(10), newBlock(20)])
      dag.addLeaf({ cid: leaf.cid, sizeBytes: leaf.bytes.length });
    others.deleted = [dag.finish().root];
    expect((await sweep()).heldUpBy).toBeUndefined();
    expect(await sweep()).toMatchObject({ deletedBlocks: 3 });
    expect(await client.have([live])).toEqual([true]);
  });
});
