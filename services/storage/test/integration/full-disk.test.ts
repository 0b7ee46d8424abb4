/** A disk without a byte left, at every step: told as such, nothing half-done, over by itself. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFile, mkdir, readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { type Cid, MiB, type SweepReport, type UpkeepReport } from '@shoal/protocol';
import { programOf } from '@shoal/testkit';
import { digestOfCid } from '../../src/disk/block-record.ts';
import {
  createPeerFolder,
  newBlock,
  newLease,
  originOf,
  type PeerFolder,
  until,
} from './harness.ts';
import { type Neighbours, startNeighbours } from './neighbours.ts';

const MAIN = programOf('services/storage');
const DISK_SIZE_BYTES = 24 * MiB;

describe('a full disk', () => {
  it('refuses blocks and says so, keeps what it has, and is over when there is room', () =>
    onSmallDisk(async (disk) => {
      await using peer = await createPeerFolder(disk.folder);
      await using storage = await startProcess(peer);
      const { client } = storage;
      const lease = newLease();
      const kept = new Map<Cid, Buffer>();
      await fillWithBlocks(async ({ cid, bytes }) => {
        const { status } = await client.put(cid, bytes, lease);
        if (status === 200) kept.set(cid, bytes);
        return status;
      });
      await disk.takeTheRest();
      const small = newBlock(40_000);
      expect((await client.put(small.cid, small.bytes)).status).toBe(507);
      expect(await readdir(join(peer.storageDir, 'tmp'))).toEqual([]);
      for (const [cid, bytes] of kept)
        expect((await client.get(cid)).bytes.equals(bytes)).toBe(true);
      expect((await client.stats())['blocks']).toBe(kept.size);

      await disk.giveBack();
      expect((await client.endLease(lease, false)).body).toEqual({ deletedBlocks: kept.size });
      const after = newBlock(MiB);
      await until(
        async () => (await client.put(after.cid, after.bytes)).status === 200,
        'there is room again',
      );
      expect((await client.get(after.cid)).bytes.equals(after.bytes)).toBe(true);
    }));

  it('lets go of a failed upload though not a byte is free', () =>
    onSmallDisk(async (disk) => {
      await using peer = await createPeerFolder(disk.folder);
      await using storage = await startProcess(peer);
      const { client } = storage;
      const lease = newLease();
      const smalls = Array.from({ length: 400 }, () => newBlock(2000));
      await Promise.all(smalls.map(({ cid, bytes }) => client.put(cid, bytes, lease)));
      await fillWithBlocks(async ({ cid, bytes }) => (await client.put(cid, bytes, lease)).status);
      await disk.takeTheRest();
      const { blocks } = (await client.stats()) as { blocks: number };
      expect(blocks).toBeGreaterThan(400);
      expect((await client.endLease(lease, false)).body).toEqual({ deletedBlocks: blocks });
      expect(await client.stats()).toMatchObject({ blocks: 0, usedBytes: 0 });
      const after = newBlock(MiB); // where the blocks were: the disk's other half stays full
      expect((await client.put(after.cid, after.bytes)).status).toBe(200);
    }));

  it('scrubs, keeps, sweeps and heals though not a byte is free', () =>
    onSmallDisk(async (disk) => {
      await using peer = await createPeerFolder(disk.folder);
      await using neighbours = await startNeighbours(peer);
      // What is put is too young to be garbage, or it would be swept before a put is refused.
      let storage = await startProcess(peer, neighbours, { STORAGE_SWEEP_GRACE_MS: '3600000' });
      let { client } = storage;
      neighbours.put = (cid, bytes) => client.put(cid, bytes);
      const [file, rotten] = [newBlock(500_000), newBlock(500_000)];
      const lease = newLease();
      for (const { cid, bytes } of [file, rotten]) {
        await client.put(cid, bytes, lease);
        neighbours.pins.set(cid, 2);
        neighbours.blocks.set(cid, { bytes });
      }
      const smalls = Array.from({ length: 300 }, () => newBlock(2000));
      await Promise.all(smalls.map(({ cid, bytes }) => client.put(cid, bytes)));
      await fillWithBlocks(async ({ cid, bytes }) => (await client.put(cid, bytes)).status);
      const digest = digestOfCid(rotten.cid);
      const path = join(peer.storageDir, 'blocks', digest.slice(0, 2), digest);
      await writeFile(path, Buffer.alloc(500_000));
      await disk.takeTheRest();

      // Started again on the full disk.
      await storage[Symbol.asyncDispose]();
      await disk.takeTheRest();
      storage = await startProcess(peer, neighbours);
      await using _last = { [Symbol.asyncDispose]: () => storage[Symbol.asyncDispose]() };
      ({ client } = storage);
      const garbage = Number((await client.stats())['blocks']) - 2;

      neighbours.isGiving = false;
      const upkeep = async () =>
        (await client.json('GET', '/upkeep')).body as unknown as UpkeepReport;
      expect((await client.json('POST', '/scrub')).status).toBe(200);
      await until(async () => (await upkeep()).scrub.lastWhole !== undefined, 'the round ends');
      expect((await upkeep()).scrub.lastWhole).toMatchObject({
        checkedBlocks: garbage + 2,
        damagedBlocks: 1,
      });
      expect((await client.get(rotten.cid)).status).toBe(404);
      expect(await client.have([file.cid, rotten.cid])).toEqual([true, false]);
      expect([200, 507]).toContain((await client.keepDag(file.cid, 2)).status);
      expect([200, 507]).toContain((await client.endLease(lease, true)).status);
      expect((await client.get(file.cid)).bytes.equals(file.bytes)).toBe(true);

      await disk.takeTheRest();
      const sweep = async () =>
        (await client.json('POST', '/sweep')).body as unknown as SweepReport;
      let deletedBlocks = 0;
      for (let round = 0; round < 2; round += 1) deletedBlocks += (await sweep()).deletedBlocks;
      expect(deletedBlocks).toBe(garbage);
      expect(await client.stats()).toMatchObject({ blocks: 1, usedBytes: 500_000 });

      neighbours.isGiving = true;
      await until(async () => (await upkeep()).damaged.blocks === 0, 'there is room to heal');
      expect((await client.get(rotten.cid)).bytes.equals(rotten.bytes)).toBe(true);
      expect(await readdir(join(peer.storageDir, 'tmp'))).toEqual([]);
    }));
});

/** Puts blocks until one is refused for want of space. */
async function fillWithBlocks(
  put: (block: ReturnType<typeof newBlock>) => Promise<number>,
): Promise<void> {
  await until(async () => {
    const blocks = Array.from({ length: 4 }, () => newBlock(MiB));
    const statuses = await Promise.all(blocks.map(put));
    expect([200, 507]).toEqual(expect.arrayContaining(statuses));
    return statuses.includes(507);
  }, 'the disk is full');
}

/** A process of its own: lmdb says on stderr what it can't write, when it likes. */
async function startProcess(
  peer: PeerFolder,
  neighbours?: Neighbours,
  env: Readonly<Record<string, string>> = {},
) {
  const origin = neighbours?.origin ?? 'http://127.0.0.1:9';
  const child = spawn(process.execPath, ['--no-warnings', MAIN], {
    env: peer.env({
      LOG_LEVEL: 'info',
      DISCOVERY_URL: origin,
      TRANSFER_URL: origin,
      STORAGE_SWEEP_GRACE_MS: '0',
      ...env,
    }),
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const client = peer.client(await originOf(child));
  return {
    client,
    async [Symbol.asyncDispose]() {
      child.kill();
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    },
  };
}

/** Mounts a small disk for as long as the task runs. Where that is not allowed, the quota's test must do. */
async function onSmallDisk(
  task: (disk: {
    readonly folder: string;
    /** Somebody else writes until there is nothing left. */
    takeTheRest(): Promise<void>;
    giveBack(): Promise<void>;
  }) => Promise<void>,
): Promise<void> {
  await using parent = await createPeerFolder();
  const folder = join(parent.dir, 'small');
  const filler = join(folder, 'filler');
  await mkdir(folder);
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK_SIZE_BYTES}`, 'tmpfs', folder], {
      stdio: 'ignore',
    });
  } catch {
    return;
  }
  try {
    await task({
      folder,
      async takeTheRest() {
        for (const sizeBytes of [MiB, 4096])
          while (
            await appendFile(filler, Buffer.alloc(sizeBytes)).then(
              () => true,
              () => false,
            )
          );
        expect((await stat(filler)).size).toBeGreaterThanOrEqual(0);
      },
      giveBack: () => writeFile(filler, ''),
    });
    expect(await readdir(folder)).toEqual(['filler']);
  } finally {
    execFileSync('umount', [folder]);
  }
}
