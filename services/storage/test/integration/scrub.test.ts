/** Every way in which bytes rot, on real disks: all are found, none is served, all are replaced. */
import { mkdir, readFile, rename, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createDagBuilder } from '@shoal/blocks';
import { type Cid, KiB, MiB, type UpkeepReport } from '@shoal/protocol';
import { openBlockIndex } from '../../src/index/block-index.ts';
import { digestOfCid } from '../../src/disk/block-record.ts';
import {
  type Client,
  createPeerFolder,
  newBlock,
  newLease,
  type PeerFolder,
  until,
} from './harness.ts';
import { type Neighbours, startNeighbours } from './neighbours.ts';

type Block = ReturnType<typeof newBlock>;
type Bytes = Buffer<ArrayBuffer>;

/** What may become of a block's bytes; undefined when they are gone. */
const ROT: Readonly<Record<string, (bytes: Bytes) => Bytes | undefined>> = {
  'first byte flipped': (bytes) => flipped(bytes, 0),
  'middle byte flipped': (bytes) => flipped(bytes, bytes.length >> 1),
  'last byte flipped': (bytes) => flipped(bytes, bytes.length - 1),
  'one byte short': (bytes) => bytes.subarray(0, -1),
  'cut in half': (bytes) => bytes.subarray(0, bytes.length >> 1),
  empty: () => Buffer.alloc(0),
  'one byte long': (bytes) => Buffer.concat([bytes, Buffer.alloc(1)]),
  'all zero': (bytes) => Buffer.alloc(bytes.length),
  gone: () => undefined,
};

describe('scrub and heal', () => {
  let peer: PeerFolder;
  let service: Awaited<ReturnType<PeerFolder['start']>>;
  let client: Client;
  let transfer: Neighbours;
  let blocks: Map<Cid, { bytes: Bytes }>;

  const start = async (more: Record<string, string> = {}): Promise<void> => {
    service = await peer.start({ TRANSFER_URL: transfer.origin, ...more });
    client = peer.client(service.origin);
  };
  const put = async (sizeBytes: number): Promise<Block> => {
    const block = newBlock(sizeBytes);
    await client.put(block.cid, block.bytes);
    blocks.set(block.cid, block);
    return block;
  };
  const pathOf = ({ cid }: Block) => {
    const digest = digestOfCid(cid);
    return join(peer.storageDir, 'blocks', digest.slice(0, 2), digest);
  };
  const upkeep = async () => (await client.json('GET', '/upkeep')).body as unknown as UpkeepReport;
  const scrubWhole = async () => {
    const { body } = await client.json('POST', '/scrub');
    await until(async () => {
      const { lastWhole } = (await upkeep()).scrub;
      return (lastWhole?.startedAtMs ?? 0) >= Number(body['startedAtMs']);
    }, 'a whole round is over');
    return (await upkeep()).scrub.lastWhole;
  };
  const allHealed = () => until(async () => (await upkeep()).damaged.blocks === 0, 'all is healed');

  beforeEach(async () => {
    peer = await createPeerFolder();
    transfer = await startNeighbours(peer);
    blocks = transfer.blocks as typeof blocks;
    transfer.put = (cid, bytes) => client.put(cid, bytes);
    await start();
  });
  afterEach(async () => {
    await service[Symbol.asyncDispose]();
    await transfer[Symbol.asyncDispose]();
    await peer[Symbol.asyncDispose]();
  });

  it('finds every kind of damage to files, serves none of it, and replaces it', async () => {
    const kinds = Object.keys(ROT);
    const rotten = await Promise.all(kinds.map(() => put(200 * KiB)));
    const [swappedA, swappedB, folder, loop] = await Promise.all([
      put(200 * KiB),
      put(200 * KiB),
      put(100 * KiB),
      put(100 * KiB),
    ]);
    const sound = await Promise.all([put(MiB), put(2 * MiB), put(70 * KiB)]);
    transfer.isGiving = false;
    for (const [at, kind] of kinds.entries()) {
      const block = rotten[at];
      if (block === undefined) throw new Error('a block for each kind');
      const bytes = ROT[kind]?.(block.bytes);
      if (bytes === undefined) await rm(pathOf(block));
      else await writeFile(pathOf(block), bytes);
    }
    await rename(pathOf(swappedA), `${pathOf(swappedA)}.aside`);
    await rename(pathOf(swappedB), pathOf(swappedA));
    await rename(`${pathOf(swappedA)}.aside`, pathOf(swappedB));
    await rm(pathOf(folder));
    await mkdir(pathOf(folder)); // reading it is an error of the disk
    await rm(pathOf(loop));
    await symlink(pathOf(loop), pathOf(loop)); // and so is this

    const damaged = [...rotten, swappedA, swappedB, folder, loop];
    const report = await scrubWhole();
    expect(report).toMatchObject({
      checkedBlocks: damaged.length + sound.length,
      checkedBytes: 11 * 200 * KiB + 2 * 100 * KiB + 3 * MiB + 70 * KiB,
      damagedBlocks: damaged.length,
    });
    const { damaged: named } = await upkeep();
    expect(named.blocks).toBe(damaged.length);
    expect(named.cids.toSorted()).toEqual(damaged.map(({ cid }) => cid).toSorted());
    for (const { cid } of damaged) {
      expect((await client.get(cid)).status).toBe(404);
      expect((await client.ask('HEAD', `/blocks/${cid}`)).status).toBe(404);
    }
    expect(await client.have(damaged.map(({ cid }) => cid))).toEqual(damaged.map(() => false));
    expect(await client.have(sound.map(({ cid }) => cid))).toEqual(sound.map(() => true));
    expect((await client.stats())['blocks']).toBe(sound.length);

    await service[Symbol.asyncDispose]();
    await start(); // what is damaged, and the report, survive
    expect(await upkeep()).toMatchObject({
      damaged: { blocks: damaged.length },
      scrub: { lastWhole: report, round: report },
    });
    transfer.isGiving = true;
    await allHealed();
    for (const [cid, { bytes }] of blocks)
      expect((await client.get(cid)).bytes.equals(bytes)).toBe(true);
    expect(await upkeep()).toMatchObject({ healedBlocks: damaged.length });
    expect(await scrubWhole()).toMatchObject({ damagedBlocks: 0, checkedBlocks: blocks.size });
  });

  it('finds every kind of damage to small blocks, and replaces it', async () => {
    const kinds = Object.keys(ROT);
    const rotten = await Promise.all(kinds.map(() => put(5000)));
    const swapped = [await put(700), await put(700)] as const;
    const sound = [await put(0), await put(1), await put(64 * KiB)];
    await service[Symbol.asyncDispose]();
    await using index = openBlockIndex(join(peer.storageDir, 'index'), { isDurable: false });
    const rewrite = async ({ cid }: Block, bytes: Bytes | undefined) => {
      const digest = digestOfCid(cid);
      const record = index.find(digest);
      if (record === undefined) throw new Error('it was put');
      await index.write({ remove: [digest], put: [{ digest, record, bytes }] });
    };
    for (const [at, kind] of kinds.entries()) {
      const block = rotten[at];
      if (block !== undefined) await rewrite(block, ROT[kind]?.(block.bytes));
    }
    await rewrite(swapped[0], swapped[1].bytes);
    await rewrite(swapped[1], swapped[0].bytes);
    await index[Symbol.asyncDispose]();

    transfer.isGiving = false;
    await start();
    const damaged = [...rotten, ...swapped];
    expect(await scrubWhole()).toMatchObject({
      checkedBlocks: damaged.length + sound.length,
      damagedBlocks: damaged.length,
    });
    expect(await client.have(damaged.map(({ cid }) => cid))).toEqual(damaged.map(() => false));
    for (const { cid } of damaged) expect((await client.get(cid)).status).toBe(404);
    transfer.isGiving = true;
    await allHealed();
    for (const [cid, { bytes }] of blocks)
      expect((await client.get(cid)).bytes.equals(bytes)).toBe(true);
  });

  it('remembers of a damaged block what pins and uploads said of it', async () => {
    const leaf = await put(100 * KiB);
    const dag = createDagBuilder();
    dag.addLeaf({ cid: leaf.cid, sizeBytes: leaf.bytes.length });
    dag.addLeaf({ cid: leaf.cid, sizeBytes: leaf.bytes.length });
    const { root, nodes } = dag.finish();
    await client.add(Uint8Array.from(nodes[0]?.bytes ?? []), 'dag-pb');
    await client.keepDag(root, 3);
    const lease = newLease();
    const leased = newBlock(100 * KiB);
    await client.put(leased.cid, leased.bytes, lease);
    transfer.isGiving = false;
    await writeFile(pathOf(leaf), 'rot');
    await writeFile(pathOf(leased), 'rot');
    expect(await client.check(leaf.cid)).toBe('corrupt');
    expect(await client.check(leased.cid)).toBe('corrupt');
    expect((await client.haveMap(root)).body['bits']).toBe(
      Buffer.from([0x80]).toString('base64url'),
    );

    expect((await client.endLease(lease, false)).body).toEqual({ deletedBlocks: 1 });
    expect((await upkeep()).damaged.blocks).toBe(1);
    transfer.isGiving = true;
    await allHealed();
    expect((await client.haveMap(root)).body['bits']).toBe(
      Buffer.from([0xe0]).toString('base64url'),
    );
    expect(await client.retire([leaf.cid], 2)).toEqual([false]); // a pin asks for three
  });

  it('heals by itself what a read or another member finds', async () => {
    const [read, checked] = [await put(MiB), await put(MiB)];
    await truncate(pathOf(read), 1000);
    await writeFile(pathOf(checked), Buffer.alloc(MiB));
    const stranger = peer.stranger(service.origin);
    expect((await stranger.get(read.cid)).status).toBe(404);
    expect(await stranger.check(checked.cid)).toBe('corrupt');
    await until(async () => (await upkeep()).healedBlocks === 2, 'both are healed');
    expect((await readFile(pathOf(checked))).equals(checked.bytes)).toBe(true);
    expect(await stranger.check(checked.cid)).toBe('sound');
    expect(transfer.copied.flat().toSorted()).toEqual([read.cid, checked.cid].toSorted());
  });

  it('goes on asking while nobody has the block, and heals the others meanwhile', async () => {
    const all = await Promise.all(Array.from({ length: 70 }, () => put(70 * KiB)));
    const [lost] = all;
    if (lost === undefined) throw new Error('there are seventy');
    blocks.delete(lost.cid);
    for (const block of all) await rm(pathOf(block));
    await scrubWhole();
    await until(async () => (await upkeep()).damaged.cids.length === 1, 'the others are healed');
    expect((await upkeep()).damaged).toEqual({ blocks: 1, cids: [lost.cid] });
    blocks.set(lost.cid, lost);
    await allHealed();
    expect(Math.max(...transfer.copied.map(({ length }) => length))).toBeLessThanOrEqual(64);
  });

  it('checks by itself what was not checked for the interval, and says how old checks are', async () => {
    await service[Symbol.asyncDispose]();
    await start({ STORAGE_SCRUB_INTERVAL_MS: '1000' });
    const [block, root] = [await put(100 * KiB), await put(10)];
    const checkedAtOf = async ({ cid }: Block) =>
      Number((await client.haveMap(cid)).body['checkedAtMs']);
    const before = await checkedAtOf(root);
    expect(before).toBeGreaterThan(Date.now() - 10_000);
    await until(async () => (await checkedAtOf(root)) > before, 'it is checked again');
    await writeFile(pathOf(block), Buffer.alloc(100 * KiB));
    await until(async () => (await upkeep()).healedBlocks === 1, 'the damage is found and healed');
    const { scrub } = await upkeep();
    expect(scrub.intervalMs).toBe(1000);
    expect(scrub.oldestCheckAtMs).toBeGreaterThanOrEqual(before);
    const metrics = await (await fetch(`${service.origin}/metrics`)).text();
    expect(metrics).toMatch(/shoal_storage_scrubbed_blocks_total\{outcome="damaged",.*\} 1/);
    expect(metrics).toMatch(/shoal_storage_blocks_healed_total\{.*\} 1/);
    expect(metrics).toMatch(/shoal_storage_blocks_damaged\{.*\} 0/);
    expect(metrics).toMatch(/shoal_storage_scrub_oldest_check_age_seconds\{.*\} [\d.]+/);
  });

  it('keeps to its rate', async () => {
    await service[Symbol.asyncDispose]();
    await start({ STORAGE_SCRUB_BYTES_PER_SECOND: String(4 * MiB) });
    await Promise.all(Array.from({ length: 8 }, () => put(MiB)));
    const beganAtMs = performance.now();
    expect(await scrubWhole()).toMatchObject({ checkedBlocks: 8 });
    // A second's worth at once, as much again at the rate.
    expect(performance.now() - beganAtMs).toBeGreaterThan(950);
  });
});

function flipped(bytes: Bytes, at: number): Bytes {
  const copy = Buffer.from(bytes);
  copy[at] = (copy[at] ?? 0) ^ 1;
  return copy;
}
