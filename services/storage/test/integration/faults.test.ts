import { AssertionError } from 'node:assert';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readlink } from 'node:fs/promises';
import { request } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { BLOCK_SIZE_MAX_BYTES, type Cid, MiB, StorageFull } from '@shoal/protocol';
import { programOf } from '@shoal/testkit';
import { openRoom } from '../../src/disk/room.ts';
import {
  type Client,
  createPeerFolder,
  newBlock,
  newLease,
  originOf,
  type PeerFolder,
  until,
} from './harness.ts';

const MAIN = programOf('services/storage');

describe('bad input', () => {
  let peer: PeerFolder;
  let service: Awaited<ReturnType<PeerFolder['start']>>;
  let client: Client;
  const held = async () => (await client.stats())['blocks'];
  const drafts = async () => (await readdir(join(peer.storageDir, 'tmp'))).length;

  beforeEach(async () => {
    peer = await createPeerFolder();
    service = await peer.start({ STORAGE_STALL_TIMEOUT_MS: '1500' });
    client = peer.client(service.origin);
  });
  afterEach(async () => {
    await service[Symbol.asyncDispose]();
    await peer[Symbol.asyncDispose]();
  });

  it('refuses bytes that are not the block', async () => {
    const { cid } = newBlock(MiB);
    expect(await client.put(cid, newBlock(MiB).bytes)).toMatchObject({
      status: 422,
      body: { type: 'problems/block-corrupt', cid, peer: 'the caller' },
    });
    expect(await held()).toBe(0);
  });

  it('refuses what is too large, announced or not', async () => {
    const { bytes, cid } = newBlock(BLOCK_SIZE_MAX_BYTES + 1);
    const problem = { status: 413, body: { type: 'problems/body-too-large' } };
    expect(await client.put(cid, bytes)).toMatchObject(problem);
    const path = `/blocks/${cid}`;
    const outgoing = request(service.origin + path, {
      method: 'PUT',
      headers: { ...client.headers('PUT', path), 'content-type': 'application/octet-stream' },
    });
    outgoing.on('error', () => {}); // the server may close before it has read everything
    const answer = new Promise((resolve) =>
      outgoing.once('response', (r) => resolve(r.statusCode)),
    );
    outgoing.write(bytes);
    expect(await answer).toBe(413);
    outgoing.destroy();
    expect(await held()).toBe(0);
  });

  it('refuses torn frames, an empty batch and bad parameters', async () => {
    const torn = Uint8Array.from([0, 0, 0, 0, 9, 1, 2]);
    for (const body of [torn, new Uint8Array([7, 0, 0, 0, 0]), new Uint8Array()])
      expect(await client.json('POST', '/blocks/batch', body)).toMatchObject({
        status: 400,
        body: { type: 'problems/request-invalid' },
      });
    expect((await client.json('GET', '/blocks/nonsense')).status).toBe(400);
    expect((await client.json('POST', '/blocks?codec=zip', new Uint8Array(1))).status).toBe(400);
    expect((await client.json('POST', '/blocks/have', { cids: [] })).status).toBe(400);
    expect(await held()).toBe(0);
  });

  it('keeps nothing of a body that ends early or stalls, and gives the buffer back', async () => {
    const { hostname, port } = new URL(service.origin);
    const stalled: string[] = [];
    for (let round = 0; round < 40; round += 1) {
      const { cid } = newBlock(10);
      const path = `/blocks/${cid}`;
      const proof = Object.entries(client.headers('PUT', path)).map(([k, v]) => `${k}: ${v}\r\n`);
      const socket = connect(Number(port), hostname);
      socket.on('error', () => {}); // the server may reset it
      await once(socket, 'connect');
      const head = `PUT ${path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\nContent-Length: 500000\r\n${proof.join('')}\r\n`;
      await new Promise((resolve) => socket.write(head + 'x'.repeat(1000), resolve));
      if (round % 10 === 0) {
        const [answer] = (await once(socket, 'data')) as [Buffer]; // stalls: told so
        stalled.push(answer.toString().slice(0, 12));
      }
      socket.destroy();
    }
    // Five at a time: on a full machine thirty would stall each other.
    for (let group = 0; group < 6; group += 1) {
      const blocks = Array.from({ length: 5 }, () => newBlock(MiB));
      const answers = await Promise.all(blocks.map(({ cid, bytes }) => client.put(cid, bytes)));
      expect(answers.map(({ status }) => status)).toEqual(blocks.map(() => 200));
    }
    expect(stalled).toEqual(Array.from({ length: 4 }, () => 'HTTP/1.1 408'));
    expect(await held()).toBe(30);
    expect(await drafts()).toBe(0);
  });

  it('gives the buffer back when a reader leaves or stops reading', async () => {
    const block = newBlock(MiB);
    await client.put(block.cid, block.bytes);
    const { hostname, port } = new URL(service.origin);
    const path = `/blocks/${block.cid}`;
    const proof = Object.entries(client.headers('GET', path)).map(([k, v]) => `${k}: ${v}\r\n`);
    const sockets = [];
    for (let round = 0; round < 60; round += 1) {
      const socket = connect(Number(port), hostname).pause();
      socket.on('error', () => {}); // the server resets a reader that stopped
      socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n${proof.join('')}\r\n`);
      if (round % 2 === 0) socket.once('connect', () => socket.destroy());
      sockets.push(socket);
    }
    await until(async () => (await client.get(block.cid)).status === 200, 'reads go on');
    for (const socket of sockets) socket.destroy();
    expect((await client.get(block.cid)).bytes.equals(block.bytes)).toBe(true);
  });

  it('leaks no descriptor', async () => {
    // Sockets aside: the client keeps as many as it likes.
    const descriptors = async () => {
      const names = await readdir('/proc/self/fd');
      const targets = await Promise.all(
        names.map((name) => readlink(`/proc/self/fd/${name}`).catch(() => 'socket:')),
      );
      return targets.filter((target) => !target.startsWith('socket:')).length;
    };
    const block = newBlock(MiB);
    const work = async () => {
      const lease = newLease();
      const fresh = Array.from({ length: 10 }, () => newBlock(200_000));
      await Promise.all(fresh.map(({ cid, bytes }) => client.put(cid, bytes, lease)));
      await Promise.all(fresh.map(({ cid }) => client.get(cid)));
      await client.put(block.cid, fresh[0]?.bytes ?? Buffer.alloc(0));
      await Promise.all(Array.from({ length: 10 }, () => client.put(block.cid, block.bytes)));
      await client.endLease(lease, false);
      await client.get(fresh[0]?.cid ?? block.cid);
    };
    await work(); // opens the connections that are kept
    const before = await descriptors();
    for (let round = 0; round < 5; round += 1) await work();
    await until(async () => (await descriptors()) <= before + 1, 'descriptors are closed');
    expect(await held()).toBe(1);
  });
});

describe('a write that fails for lack of room', () => {
  it('is a full store, also by an error that does not say so, but a bug stays a bug', async () => {
    await using peer = await createPeerFolder();
    const room = await openRoom({
      folder: peer.dir,
      capacityBytes: 0,
      reserveBytes: 0,
      repairShare: 0,
      usedBytes: () => 0,
      uptimeMs: () => 0,
    });
    expect(await room.explain(new Error('the index could not be written'), 1)).toBeInstanceOf(
      StorageFull,
    );
    const bug = new AssertionError({ message: 'no figure over all blocks is negative' });
    expect(await room.explain(bug, 1)).toBe(bug);
  });
});

describe('kill -9', () => {
  it('loses no acknowledged block, and the store opens again by itself', async () => {
    await using peer = await createPeerFolder();
    const acknowledged = new Map<Cid, Buffer>();
    for (let round = 0; round < 3; round += 1) {
      const child = spawn(process.execPath, ['--no-warnings', MAIN], {
        env: peer.env({ LOG_LEVEL: 'info' }),
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const client = peer.client(await originOf(child));
      let isAlive = true;
      const write = async (sizeBytes: number): Promise<void> => {
        while (isAlive) {
          const { cid, bytes } = newBlock(sizeBytes);
          try {
            if ((await client.put(cid, bytes)).status === 200) acknowledged.set(cid, bytes);
          } catch {
            return; // the process is gone
          }
        }
      };
      const writers = [MiB, MiB, MiB, 300_000, 5000].map(write);
      const goal = acknowledged.size + 60;
      await until(() => acknowledged.size >= goal, 'blocks are acknowledged');
      child.kill('SIGKILL');
      isAlive = false;
      await Promise.all(writers);
    }
    await using service = await peer.start();
    const client = peer.client(service.origin);
    for (const [cid, bytes] of acknowledged)
      expect((await client.get(cid)).bytes.equals(bytes)).toBe(true);
    expect(acknowledged.size).toBeGreaterThanOrEqual(180);
    expect(await readdir(join(peer.storageDir, 'tmp'))).toEqual([]);
  }, 60_000);

  it('tells a second process that the folder is served', async () => {
    await using peer = await createPeerFolder();
    await using _service = await peer.start();
    const child = spawn(process.execPath, ['--no-warnings', MAIN], {
      env: peer.env({ LOG_LEVEL: 'fatal' }),
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
    expect(line).toContain('already serves this folder');
    if (child.exitCode === null) await once(child, 'exit');
    expect(child.exitCode).toBe(78);
  });
});
