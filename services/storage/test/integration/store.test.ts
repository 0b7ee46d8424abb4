import { randomBytes } from 'node:crypto';
import { readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createDagBuilder, digestOf, getBit, hashBlock, proveWhole } from '@shoal/blocks';
import { openIdentity } from '@shoal/chassis';
import {
  type Cid,
  encodeFrames,
  KiB,
  MiB,
  routePath,
  storageRoutes as routes,
} from '@shoal/protocol';
import {
  type Client,
  createPeerFolder,
  newBlock,
  newLease,
  type PeerFolder,
  until,
} from './harness.ts';

describe('the storage service', () => {
  let peer: PeerFolder;
  let service: Awaited<ReturnType<PeerFolder['start']>>;
  let client: Client;
  const start = async (more: Record<string, string> = {}): Promise<void> => {
    service = await peer.start(more);
    client = peer.client(service.origin);
  };
  const restart = async (): Promise<void> => {
    await service[Symbol.asyncDispose]();
    await start();
  };
  const hexOf = (cid: Cid) => Buffer.from(digestOf(cid)).toString('hex');
  const fileOf = (cid: Cid) => join(peer.storageDir, 'blocks', hexOf(cid).slice(0, 2), hexOf(cid));
  const drafts = async () => (await readdir(join(peer.storageDir, 'tmp'))).length;

  beforeEach(async () => {
    peer = await createPeerFolder();
    await start();
  });
  afterEach(async () => {
    await service[Symbol.asyncDispose]();
    await peer[Symbol.asyncDispose]();
  });

  it('gives back what was put, whatever the size, also after a restart', async () => {
    const sizes = [0, 1, 64 * KiB, 64 * KiB + 1, MiB - 1, MiB, MiB + 1, 2 * MiB];
    const blocks = sizes.map(newBlock);
    for (const { cid, bytes } of blocks)
      expect(await client.put(cid, bytes)).toEqual({
        status: 200,
        body: { cid, sizeBytes: bytes.length, isNew: true },
      });
    for (const isAgain of [false, true]) {
      if (isAgain) await restart();
      for (const { cid, bytes } of blocks) {
        const got = await client.get(cid);
        expect(got.status).toBe(200);
        expect(got.bytes.equals(bytes)).toBe(true);
        const head = await client.ask('HEAD', `/blocks/${cid}`);
        expect(head.headers.get('content-length')).toBe(String(bytes.length));
        expect(await client.check(cid)).toBe('sound');
      }
      expect(await client.stats()).toMatchObject({
        blocks: sizes.length,
        usedBytes: sizes.reduce((sum, size) => sum + size, 0),
      });
      expect(await drafts()).toBe(0);
    }
  });

  it('hashes what has no name yet, under the codec asked for', async () => {
    const { bytes } = newBlock(1000);
    expect((await client.add(bytes)).body['cid']).toBe(hashBlock('raw', bytes));
    const again = await client.add(bytes, 'dag-pb');
    expect(again.body).toEqual({
      cid: hashBlock('dag-pb', bytes),
      sizeBytes: 1000,
      isNew: false,
    });
    expect(await client.have([hashBlock('raw', bytes), hashBlock('dag-pb', bytes)])).toEqual([
      true,
      true,
    ]);
  });

  it('takes many small blocks in one body, in order', async () => {
    const frames = [10, 0, 70 * KiB, 10].map((size) => ({
      codec: 'raw' as const,
      bytes: newBlock(size).bytes,
    }));
    const body = Uint8Array.from(encodeFrames([...frames, ...frames.slice(0, 1)]));
    const { status, body: answer } = await client.json('POST', '/blocks/batch', body);
    expect(status).toBe(200);
    const cids = frames.map(({ codec, bytes }) => hashBlock(codec, bytes));
    const blocks = answer['blocks'] as { cid: Cid; isNew: boolean }[];
    expect(blocks.map(({ cid }) => cid)).toEqual([...cids, cids[0]]);
    expect(blocks.map(({ isNew }) => isNew)).toEqual([true, true, true, true, false]);
    expect(await client.have(cids)).toEqual([true, true, true, true]);
  });

  it('marks small blocks for the pin that is on its way, and proves them, in the same call', async () => {
    const blocks = [10, 0, 70 * KiB].map(newBlock);
    const cids = blocks.map(({ cid }) => cid);
    const frames = blocks.map(({ bytes }) => ({ codec: 'raw' as const, bytes }));
    const nonce = randomBytes(16).toString('base64url');
    const asker = openIdentity(join(peer.dir, 'other.key')).peerId;
    const holder = openIdentity(join(peer.dir, 'identity.key')).peerId;
    const path = routePath(routes.addBlocks.path, {}, { replicas: 3, nonce, asker });
    const { body } = await client.json('POST', path, Uint8Array.from(encodeFrames(frames)));
    expect(body['proofs']).toEqual(
      blocks.map(({ cid, bytes }) => proveWhole({ nonce, asker, holder, cid }, bytes)),
    );
    // More than an upload speaks for them, as after a mark of their own.
    expect(await client.have(cids, { forGood: true })).toEqual([true, true, true]);
    expect(await client.retire(cids, 2)).toEqual([false, false, false]);
    expect(await client.retire(cids, 3)).toEqual([true, true, true]);
  });

  it('marks whole files of one block, and answers which are here', async () => {
    const lease = newLease();
    const [leased, absent, condemned] = [newBlock(100), newBlock(100), newBlock(100)];
    await client.put(leased.cid, leased.bytes, lease);
    await client.put(condemned.cid, condemned.bytes);
    await client.retire([condemned.cid], 1);
    const blocks = [leased, absent, condemned].map(({ cid }, at) => ({ cid, replicas: at + 2 }));
    const { status, body } = await client.json('POST', routes.keepBlocks.path, { blocks });
    expect(status).toBe(200);
    expect(body['bits']).toBe(Buffer.of(0b1010_0000).toString('base64url'));
    await client.endLease(lease, false);
    expect(await client.have([leased.cid, condemned.cid])).toEqual([true, true]);
    expect(await client.retire([leased.cid, condemned.cid], 2)).toEqual([true, false]);
  });

  it('keeps one of many equal and different blocks put at once', async () => {
    const same = newBlock(MiB);
    const others = Array.from({ length: 12 }, () => newBlock(200 * KiB));
    const answers = await Promise.all([
      ...Array.from({ length: 8 }, () => client.put(same.cid, same.bytes)),
      ...others.map(({ cid, bytes }) => client.put(cid, bytes)),
    ]);
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
    expect(answers.filter(({ body }) => body['isNew'] === true)).toHaveLength(13);
    expect((await client.get(same.cid)).bytes.equals(same.bytes)).toBe(true);
    expect((await client.stats())['blocks']).toBe(13);
    expect(await drafts()).toBe(0);
  });

  it('deletes what a failed upload alone held, and nothing else', async () => {
    const [a, b] = [newLease(), newLease()];
    const [mine, both, before, pinned] = [
      newBlock(MiB),
      newBlock(100),
      newBlock(100),
      newBlock(100),
    ];
    await client.put(before.cid, before.bytes);
    await client.put(mine.cid, mine.bytes, a);
    for (const lease of [a, b]) await client.put(both.cid, both.bytes, lease);
    await client.put(before.cid, before.bytes, a);
    await client.put(pinned.cid, pinned.bytes, a);
    await client.keepDag(pinned.cid, 3);
    const forGood = { forGood: true };
    expect(
      await client.have(
        [mine, both, before, pinned].map(({ cid }) => cid),
        forGood,
      ),
    ).toEqual([false, false, true, true]);
    expect(await client.endLease(a, false)).toEqual({ status: 200, body: { deletedBlocks: 1 } });
    expect(await client.have([mine, both, before, pinned].map(({ cid }) => cid))).toEqual([
      false,
      true,
      true,
      true,
    ]);
    expect((await client.get(mine.cid)).status).toBe(404);
    expect((await client.endLease(b, false)).body).toEqual({ deletedBlocks: 1 });
    const late = await client.put(mine.cid, mine.bytes, a);
    expect(late).toMatchObject({ status: 400, body: { type: 'problems/request-invalid' } });
    expect((await client.stats())['blocks']).toBe(2);
  });

  it('keeps what a successful upload held, though another one fails later', async () => {
    const [a, b] = [newLease(), newLease()];
    const { cid, bytes } = newBlock(MiB);
    await client.put(cid, bytes, a);
    expect(await client.join(b, [cid, newBlock(1).cid])).toEqual([true, false]);
    expect((await client.endLease(b, true)).body).toEqual({ deletedBlocks: 0 });
    expect((await client.endLease(a, false)).body).toEqual({ deletedBlocks: 0 });
    expect(await client.have([cid])).toEqual([true]);
  });

  it('remembers across a restart which upload a block belongs to', async () => {
    const [a, b] = [newLease(), newLease()];
    const [mine, shared] = [newBlock(MiB), newBlock(MiB)];
    await client.put(mine.cid, mine.bytes, a);
    await client.put(shared.cid, shared.bytes, a);
    await client.join(b, [shared.cid]);
    await restart();
    expect((await client.endLease(a, false)).body).toEqual({ deletedBlocks: 1 });
    expect(await client.have([mine.cid, shared.cid])).toEqual([false, true]);
  });

  it('drops a retired block in two steps, unless somebody wants it in between', async () => {
    const blocks = Array.from({ length: 6 }, () => newBlock(MiB));
    const cids = blocks.map(({ cid }) => cid);
    const [gone, putAgain, leased, back, wanted, leasedBefore] = cids as [
      Cid,
      Cid,
      Cid,
      Cid,
      Cid,
      Cid,
    ];
    for (const { cid, bytes } of blocks) await client.put(cid, bytes);
    await client.join(newLease(), [leasedBefore]);
    await client.keepDag(wanted, 2);
    expect(await client.retire(cids, 2)).toEqual([true, true, true, true, true, false]);
    expect(await client.have(cids)).toEqual([false, false, false, false, false, true]);
    expect((await client.get(gone)).status).toBe(200);

    await client.put(putAgain, blocks[1]?.bytes ?? Buffer.alloc(0));
    await client.join(newLease(), [leased]);
    await client.unretire([back]);
    await client.keepDag(wanted, 3);
    expect(await client.drop(cids)).toBe(1);
    expect(await client.have(cids)).toEqual([false, true, true, true, true, true]);
    expect((await client.get(gone)).status).toBe(404);
    expect(await client.drop(cids)).toBe(0);
    expect(await client.retire([wanted], 2)).toEqual([false]);
  });

  it('never loses a block that is put while it is dropped', async () => {
    const { cid, bytes } = newBlock(MiB);
    await client.put(cid, bytes);
    for (let round = 0; round < 20; round += 1) {
      await client.retire([cid], 3);
      const [put] = await Promise.all([client.put(cid, bytes), client.drop([cid])]);
      if (put.status !== 200) throw new Error(JSON.stringify(put));
      // A drop that came first makes the put write again; one that came second finds it taken back.
      expect(await client.have([cid])).toEqual([true]);
      expect((await client.get(cid)).status).toBe(200);
    }
  });

  it('confirms a retired block to nobody while it is dropped', async () => {
    for (let round = 0; round < 20; round += 1) {
      const { cid, bytes } = newBlock(100_000);
      await client.put(cid, bytes);
      await client.retire([cid], 3);
      let isDropped = false;
      const drop = client.drop([cid]).finally(() => (isDropped = true));
      const confirmed: boolean[] = [];
      while (!isDropped) confirmed.push(...(await client.have([cid])));
      expect(await drop).toBe(1);
      expect(confirmed).not.toContain(true);
    }
  });

  it('does not tell others what it holds of a file while a block of it is retired', async () => {
    const { cid, bytes } = newBlock(100_000);
    await client.put(cid, bytes);
    const told = async () => (await client.haveMaps([cid])).body['haveMaps'];
    const held = [{ root: cid, blocks: 1, bits: 'gA' }];
    expect(await told()).toMatchObject(held);
    expect(await client.retire([cid], 3)).toEqual([true]);
    // It is on the disk, and may stay there: "absent" would be taken for a loss.
    expect(await told()).toEqual(['unread']);
    await client.unretire([cid]);
    expect(await told()).toMatchObject(held);
    await client.retire([cid], 3);
    expect(await client.drop([cid])).toBe(1);
    expect(await told()).toEqual(['absent']);
  });

  it('counts each block that stops counting as a copy, and tells whoever waits for that', async () => {
    const blocks = [10, 70 * KiB, 70 * KiB].map(newBlock);
    const lossesOf = async (path = '/losses') =>
      Number((await client.json('GET', path)).body['losses']);
    const first = await lossesOf();
    for (const { cid, bytes } of blocks) await client.put(cid, bytes);
    const [small, large, other] = blocks.map(({ cid }) => cid) as [Cid, Cid, Cid];
    expect(await lossesOf()).toBe(first);
    const waiting = lossesOf(`/losses?known=${first}&waitMs=20000`);
    expect(await client.retire([small], 1)).toEqual([true]);
    expect(await waiting).toBe(first + 1);
    await client.drop([small]); // it did not count any more
    expect(await lossesOf()).toBe(first + 2); // its record is gone
    await truncate(fileOf(large), 5);
    expect(await client.check(large)).toBe('corrupt');
    expect(await lossesOf()).toBe(first + 3);
    await rm(fileOf(other));
    expect((await client.get(other)).status).toBe(404);
    expect(await lossesOf()).toBe(first + 4);
    const sameMs = performance.now();
    expect(await lossesOf(`/losses?known=${first + 4}&waitMs=300`)).toBe(first + 4);
    expect(performance.now() - sameMs).toBeGreaterThan(250);
    await restart();
    expect(await lossesOf()).not.toBe(first + 4);
  });

  it('takes a retirement back at a restart', async () => {
    const { cid, bytes } = newBlock(10);
    await client.put(cid, bytes);
    await client.retire([cid], 1);
    await restart();
    expect(await client.have([cid])).toEqual([true]);
    expect(await client.drop([cid])).toBe(0);
  });

  it('lists what it holds of a DAG, and keeps its nodes', async () => {
    const leaves = [newBlock(1000), newBlock(1000), newBlock(1000)];
    const dag = createDagBuilder();
    for (const { cid, bytes } of leaves) dag.addLeaf({ cid, sizeBytes: bytes.length });
    const { root, nodes } = dag.finish();
    const [node] = nodes;
    if (node === undefined) throw new Error('three leaves need a node');
    expect(await client.haveMap(root)).toMatchObject({
      status: 404,
      body: { type: 'problems/block-not-found' },
    });
    for (const { cid, bytes } of leaves.slice(0, 2)) await client.put(cid, bytes);
    await client.add(Uint8Array.from(node.bytes), 'dag-pb');
    const { body } = await client.haveMap(root);
    expect(body['blocks']).toBe(4);
    const bits = Buffer.from(String(body['bits']), 'base64url');
    expect([0, 1, 2, 3].map((at) => getBit(bits, at))).toEqual([true, true, true, false]);
    expect((await client.keepDag(root, 3)).body).toEqual({ keptBlocks: 3 });
    const held = [root, ...leaves.map(({ cid }) => cid)];
    expect(await client.retire(held, 3)).toEqual([false, true, true, false]);
    const asRaw = hashBlock('raw', node.bytes); // the same bytes under another name
    expect(await client.retire([asRaw], 3)).toEqual([false]);
  });

  it('says which node of a DAG it lacks', async () => {
    const dag = createDagBuilder();
    const nodes = [];
    for (let index = 0; index < 1025; index += 1) {
      const cid = hashBlock('raw', Buffer.from(String(index)));
      nodes.push(...dag.addLeaf({ cid, sizeBytes: 1 }));
    }
    const end = dag.finish();
    nodes.push(...end.nodes);
    const top = nodes.find(({ cid }) => cid === end.root);
    await client.add(Uint8Array.from(top?.bytes ?? []), 'dag-pb');
    const answer = await client.haveMap(end.root);
    expect(answer).toMatchObject({
      status: 409,
      body: { type: 'problems/manifest-incomplete', cid: nodes[0]?.cid },
    });
    expect((await client.keepDag(end.root, 2)).status).toBe(409);

    const { cid: lone, bytes } = newBlock(1000);
    await client.put(lone, bytes);
    const { cid: unknown } = newBlock(10);
    expect(await client.haveMaps([end.root, lone, unknown])).toMatchObject({
      status: 200,
      body: { haveMaps: ['incomplete', { root: lone, blocks: 1, bits: 'gA' }, 'absent'] },
    });
    expect((await client.haveMaps([])).status).toBe(400);
    expect((await client.haveMaps(Array.from({ length: 65 }, () => lone))).status).toBe(400);
  });

  it('answers 404 for a block that was cut short, and sets it aside', async () => {
    const { cid, bytes } = newBlock(MiB);
    await client.put(cid, bytes);
    await truncate(fileOf(cid), 1000);
    expect((await client.ask('HEAD', `/blocks/${cid}`)).status).toBe(404);
    expect((await client.get(cid)).status).toBe(404);
    expect(await client.have([cid])).toEqual([false]);
    expect(await readdir(join(peer.storageDir, 'quarantine'))).toEqual([hexOf(cid)]);
    expect((await client.stats())['blocks']).toBe(0);
    expect((await client.put(cid, bytes)).body['isNew']).toBe(true);
    expect((await client.get(cid)).bytes.equals(bytes)).toBe(true);
  });

  it('writes a block again whose file is gone', async () => {
    const { cid, bytes } = newBlock(MiB);
    await client.put(cid, bytes);
    await rm(fileOf(cid));
    expect((await client.put(cid, bytes)).body['isNew']).toBe(true);
    expect((await readFile(fileOf(cid))).equals(bytes)).toBe(true);
    expect(await client.stats()).toMatchObject({ blocks: 1, usedBytes: MiB });
  });

  it('finds flipped bits when it checks', async () => {
    const { cid, bytes } = newBlock(MiB);
    await client.put(cid, bytes);
    expect(await client.check(newBlock(5).cid)).toBe('absent');
    bytes[5] = (bytes[5] ?? 0) ^ 1;
    await writeFile(fileOf(cid), bytes);
    expect(await client.check(cid)).toBe('corrupt');
    expect((await client.get(cid)).status).toBe(404);
    expect(await client.check(cid)).toBe('absent');
  });

  it('clears drafts and files that no record knows when it starts', async () => {
    const stray = newBlock(MiB);
    const known = newBlock(MiB);
    await client.put(known.cid, known.bytes);
    await service[Symbol.asyncDispose]();
    await writeFile(fileOf(stray.cid), stray.bytes);
    await writeFile(join(peer.storageDir, 'tmp', 'draft'), 'half');
    await start();
    expect(await drafts()).toBe(0);
    await until(
      () =>
        readFile(fileOf(stray.cid)).then(
          () => false,
          () => true,
        ),
      'the stray file goes',
    );
    expect((await client.get(known.cid)).status).toBe(200);
  });

  it('lets nobody else open its folder', async () => {
    await expect(peer.start()).rejects.toThrow('already serves this folder');
    const { cid, bytes } = newBlock(10);
    expect((await client.put(cid, bytes)).status).toBe(200);
  });

  it('is full at its capacity, says so, and works again when there is room', async () => {
    await service[Symbol.asyncDispose]();
    await start({ STORAGE_CAPACITY_BYTES: String(2 * MiB) });
    const blocks = [newBlock(MiB), newBlock(MiB), newBlock(MiB)] as const;
    const lease = newLease();
    await client.put(blocks[0].cid, blocks[0].bytes, lease);
    await client.put(blocks[1].cid, blocks[1].bytes);
    expect(await client.put(blocks[2].cid, blocks[2].bytes)).toMatchObject({
      status: 507,
      body: { type: 'problems/storage-full', limit: 'storage capacity', freeBytes: 0 },
    });
    expect(await drafts()).toBe(0);
    expect((await client.put(blocks[1].cid, blocks[1].bytes)).body['isNew']).toBe(false);
    await client.endLease(lease, false);
    expect((await client.put(blocks[2].cid, blocks[2].bytes)).status).toBe(200);
    expect(await client.stats()).toMatchObject({ capacityBytes: 2 * MiB, freeBytes: 0 });
  });

  it('lets peers of the swarm read, and nobody else write', async () => {
    const { cid, bytes } = newBlock(10);
    await client.put(cid, bytes);
    const other = peer.stranger(service.origin);
    expect((await other.get(cid)).status).toBe(200);
    expect(await other.have([cid])).toEqual([true]);
    expect((await other.put(cid, bytes)).status).toBe(401);
    expect((await other.drop([cid])) ?? 'refused').toBe('refused');
    expect((await fetch(`${service.origin}/blocks/${cid}`)).status).toBe(401);
  });

  it('tells how it is', async () => {
    const { cid, bytes } = newBlock(MiB);
    await client.put(cid, bytes);
    await client.get(cid);
    expect((await fetch(`${service.origin}/readyz`)).status).toBe(200);
    const metrics = await (await fetch(`${service.origin}/metrics`)).text();
    expect(metrics).toMatch(/shoal_storage_blocks_held\{service="storage"\} 1/);
    expect(metrics).toMatch(/shoal_storage_blocks_written_total\{outcome="new",.*\} 1/);
    expect(metrics).toMatch(/shoal_storage_read_bytes_total\{.*\} 1048576/);
    const { domain } = (await client.stats()) as { domain: { host: string; disk: string } };
    expect(domain.host).not.toBe('');
    expect(domain.disk).not.toBe('');
  });
});
