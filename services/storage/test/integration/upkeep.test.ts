/** The sweep as a service: pins from discovery, transfer told, rounds shared; and the quota. */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createDagBuilder } from '@shoal/blocks';
import { type Cid, MiB, type UpkeepReport } from '@shoal/protocol';
import {
  type Client,
  createPeerFolder,
  newBlock,
  newLease,
  type PeerFolder,
  until,
} from './harness.ts';
import { startNeighbours } from './neighbours.ts';

describe('the sweep of a peer', () => {
  let peer: PeerFolder;
  let service: Awaited<ReturnType<PeerFolder['start']>>;
  let client: Client;
  let others: Awaited<ReturnType<typeof startNeighbours>>;

  const start = async (more: Record<string, string> = {}): Promise<void> => {
    service = await peer.start({
      DISCOVERY_URL: others.origin,
      TRANSFER_URL: others.origin,
      STORAGE_SWEEP_GRACE_MS: '0',
      ...more,
    });
    client = peer.client(service.origin);
  };
  const sweep = async (query = '') => (await client.json('POST', `/sweep${query}`)).body;
  const upkeep = async () => (await client.json('GET', '/upkeep')).body as unknown as UpkeepReport;
  const putFile = async (): Promise<Cid> => {
    const dag = createDagBuilder();
    for (let at = 0; at < 2; at += 1) {
      const leaf = newBlock(100);
      await client.put(leaf.cid, leaf.bytes);
      dag.addLeaf({ cid: leaf.cid, sizeBytes: leaf.bytes.length });
    }
    const { root, nodes } = dag.finish();
    for (const { bytes } of nodes) await client.add(Uint8Array.from(bytes), 'dag-pb');
    return root;
  };

  beforeEach(async () => {
    peer = await createPeerFolder();
    others = await startNeighbours(peer);
    await start();
  });
  afterEach(async () => {
    await service[Symbol.asyncDispose]();
    await others[Symbol.asyncDispose]();
    await peer[Symbol.asyncDispose]();
  });

  it('follows the pins of many pages, asks for those just ended too, and tells transfer of less', async () => {
    const roots = [await putFile(), await putFile(), await putFile()];
    const dead = await putFile();
    for (const root of roots) {
      others.pins.set(root, 5);
      await client.keepDag(root, 5);
    }
    expect(await sweep('?dryRun=true')).toMatchObject({ isDryRun: true, condemnedBlocks: 3 });
    expect(await client.have([dead])).toEqual([true]);
    expect(await sweep()).toMatchObject({ pins: 3, reachedBlocks: 9, condemnedBlocks: 3 });
    expect(await client.have([dead, ...roots])).toEqual([false, true, true, true]);
    expect(others.settled).toEqual([]);
    for (const root of roots.slice(0, 2)) others.pins.set(root, 2);
    expect(await sweep()).toMatchObject({ deletedBlocks: 3 });
    expect(others.settled.flat().toSorted()).toEqual(roots.slice(0, 2).toSorted());
    expect(others.queries.every(({ justExpired }) => justExpired)).toBe(true);
    expect((await upkeep()).sweep.last).toMatchObject({ deletedBlocks: 3, isDryRun: false });
    const metrics = await (await fetch(`${service.origin}/metrics`)).text();
    expect(metrics).toMatch(/shoal_storage_sweep_rounds_total\{outcome="done",.*\} 2/);
    expect(metrics).toMatch(/shoal_storage_blocks_deleted_total\{reason="swept",.*\} 3/);

    await service[Symbol.asyncDispose]();
    await start();
    expect((await upkeep()).sweep.last).toMatchObject({ deletedBlocks: 3 });
  });

  it('is held up while discovery does not know every pin, or does not answer', async () => {
    await putFile();
    others.isCurrent = false;
    expect(await sweep()).toMatchObject({ condemnedBlocks: 0, heldUpBy: expect.any(String) });
    await others[Symbol.asyncDispose]();
    expect(await sweep()).toMatchObject({ condemnedBlocks: 0, heldUpBy: expect.any(String) });
    const metrics = await (await fetch(`${service.origin}/metrics`)).text();
    expect(metrics).toMatch(/shoal_storage_sweep_rounds_total\{outcome="held-up",.*\} 2/);
  });

  it('runs one round at a time, and shares the next one', async () => {
    await putFile();
    others.delayMs = 100;
    const reports = await Promise.all(Array.from({ length: 6 }, () => sweep()));
    // One round may have begun before the others asked; those share the next.
    const rounds = new Set(reports.map((report) => JSON.stringify(report)));
    expect(rounds.size).toBeLessThanOrEqual(2);
    expect(others.concurrentMax).toBe(1);
  });

  it('runs by itself, and stops in the middle of a round when the service does', async () => {
    await service[Symbol.asyncDispose]();
    await start({ STORAGE_SWEEP_INTERVAL_MS: '1000' });
    const dead = await putFile();
    await until(async () => (await client.get(dead)).status === 404, 'garbage goes by itself');
    others.delayMs = 60_000;
    const asked = others.queries.length;
    const waiting = sweep().catch(() => undefined);
    await until(() => others.queries.length > asked, 'a round is under way');
    const beganAtMs = performance.now();
    await service[Symbol.asyncDispose]();
    expect(performance.now() - beganAtMs).toBeLessThan(5000);
    await waiting;
    others.delayMs = 0;
    await start();
  });

  it('lets no page of a stranger start it', async () => {
    const answer = await fetch(`${service.origin}/sweep`, {
      method: 'POST',
      headers: { origin: 'https://example.com' },
    });
    expect(answer.status).toBe(403);
    expect((await fetch(`${service.origin}/scrub`, { method: 'POST' })).status).toBe(200);
  });
});

describe('the quota', () => {
  it('keeps a share free for repair, and says which limit was reached', async () => {
    await using peer = await createPeerFolder();
    await using service = await peer.start({
      STORAGE_CAPACITY_BYTES: String(4 * MiB),
      STORAGE_REPAIR_RESERVE_SHARE: '0.5',
    });
    const client = peer.client(service.origin);
    const [a, b, c] = [newBlock(MiB), newBlock(MiB), newBlock(MiB)];
    const [d, e] = [newBlock(MiB), newBlock(MiB)];
    const lease = newLease();
    for (const { cid, bytes } of [a, b])
      expect((await client.put(cid, bytes, lease)).status).toBe(200);
    expect(await client.stats()).toMatchObject({ freeBytes: 0, usedBytes: 2 * MiB });
    expect(await client.put(c.cid, c.bytes, lease)).toMatchObject({
      status: 507,
      body: { limit: 'storage capacity less the repair reserve', freeBytes: 0 },
    });
    for (const { cid, bytes } of [c, d]) expect((await client.put(cid, bytes)).status).toBe(200);
    expect(await client.put(e.cid, e.bytes)).toMatchObject({
      status: 507,
      body: { limit: 'storage capacity', freeBytes: 0 },
    });
    expect((await client.put(d.cid, d.bytes, lease)).body['isNew']).toBe(false); // held already
  });
});
