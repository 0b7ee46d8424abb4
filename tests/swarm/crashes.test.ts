import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { discoveryRoutes, MiB } from '@shoal/protocol';
import {
  download,
  eventually,
  isRunning,
  type RunningPeer,
  type RunningSwarm,
  seededBytes,
  seededStream,
  sha256Of,
  startSwarm,
  upload,
} from '@shoal/testkit';
import { execFile } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { promisify } from 'node:util';
import { Agent, request } from 'undici';

const SMALL_FILES = 96;
const SMALL_IN_FLIGHT = 16;
const SMALL_SIZE_BYTES = 4096;
const FILE = { name: 'important.tar', seed: 'important', sizeBytes: 32 * MiB };

/** A body that stops half-way until it is told to go on. */
async function* paused(seed: string, sizeBytes: number, at: number, then: () => Promise<void>) {
  let sentBytes = 0;
  let isDone = false;
  for await (const piece of seededStream(seed, sizeBytes)) {
    yield piece;
    sentBytes += piece.length;
    if (isDone || sentBytes < at) continue;
    isDone = true;
    await then();
  }
}

async function listAll({ gateway }: RunningPeer) {
  const { body } = await request(`${gateway}/files?limit=1000`);
  return discoveryRoutes.listFiles.reply.parse(await body.json()).files;
}

const listNames = async (peer: RunningPeer): Promise<string[]> =>
  (await listAll(peer)).map(({ name }) => name);

async function bytesAt(peer: RunningPeer | undefined, cid: string): Promise<Buffer> {
  const { statusCode, body } = await request(`${peer?.transfer}/files/${cid}`);
  const bytes = Buffer.from(await body.arrayBuffer());
  if (statusCode !== 200) throw new Error(`${statusCode} ${bytes.toString()}`);
  return bytes;
}

describe('crashes inside a peer', () => {
  let swarm: RunningSwarm;
  const first = (): RunningPeer => {
    const [peer] = swarm.peers;
    if (peer === undefined) throw new Error('no peer');
    return peer;
  };
  beforeAll(async () => {
    swarm = await startSwarm(3);
  });
  afterAll(async () => {
    await swarm[Symbol.asyncDispose]();
  });

  it('of the chunker mid-upload leave nothing half-listed, and a retry works', async () => {
    const peer = first();
    const body = paused(FILE.seed, FILE.sizeBytes, 10 * MiB, async () => {
      peer.killOne('chunker');
    });
    await expect(upload(peer.chunker, FILE, { body })).rejects.toThrow(
      /socket|closed|ECONN|terminated|reset|EPIPE/i,
    );
    for (const other of swarm.peers) expect(await listNames(other)).not.toContain(FILE.name);
    const { reply } = await eventually('the chunker is back', () => upload(peer.chunker, FILE), {
      timeoutMs: 20_000,
    });
    const sha256 = await sha256Of(seededStream(FILE.seed, FILE.sizeBytes));
    for (const { transfer } of swarm.peers)
      expect(await download(transfer, reply.cid)).toMatchObject({ sha256 });
    await eventually('every peer lists it', async () =>
      (await Promise.all(swarm.peers.map(listNames))).every((names) => names.includes(FILE.name)),
    );
  });

  it('of Redis mid-upload lose nothing: killed, it comes back empty, and the file gets its copies', async () => {
    const peer = first();
    const file = { ...FILE, name: 'without-redis.bin', seed: 'redis' };
    let redisId = 0;
    const body = paused(file.seed, file.sizeBytes, 10 * MiB, async () => {
      redisId = peer.killOne('redis');
    });
    const { reply } = await upload(peer.chunker, file, { body, query: 'copies=3' });
    expect(redisId).toBeGreaterThan(0);
    expect(isRunning(redisId)).toBe(false);
    const sha256 = await sha256Of(seededStream(file.seed, file.sizeBytes));
    for (const { transfer } of swarm.peers)
      expect(await download(transfer, reply.cid)).toMatchObject({ sha256 });
    expect(reply.copies).toBe(3);
  });

  it('of Redis’ memory (FLUSHALL) mid-upload lose nothing', async () => {
    const peer = first();
    const file = { ...FILE, name: 'flushed.bin', seed: 'flushed' };
    const redis = peer.processIds().redis ?? 0;
    const { stdout } = await promisify(execFile)('ps', ['-o', 'args=', '-p', String(redis)]);
    const socket = /unixsocket:(\S+)|--unixsocket (\S+)|(\/\S+\.sock)/
      .exec(stdout)
      ?.slice(1)
      .find(Boolean);
    expect(socket).toBeDefined();
    const body = paused(file.seed, file.sizeBytes, 10 * MiB, async () => {
      await promisify(execFile)('redis-cli', ['-s', String(socket), 'FLUSHALL']);
    });
    const { reply } = await upload(peer.chunker, file, { body, query: 'copies=3' });
    expect(reply.copies).toBe(3);
    const sha256 = await sha256Of(seededStream(file.seed, file.sizeBytes));
    for (const { transfer } of swarm.peers)
      expect(await download(transfer, reply.cid)).toMatchObject({ sha256 });
  });

  it('of each service are mended by the launcher, and every file is still there', async () => {
    const peer = first();
    const { reply } = await upload(peer.chunker, { ...FILE, name: 'each.bin', seed: 'each' });
    const sha256 = await sha256Of(seededStream('each', FILE.sizeBytes));
    for (const name of [
      'storage',
      'transfer',
      'discovery',
      'chunker',
      'gateway',
      'redis',
    ] as const) {
      peer.killOne(name);
      await eventually(
        `the peer serves again after ${name} was killed`,
        async () => (await download(peer.gateway, reply.cid)).sha256 === sha256,
        { timeoutMs: 15_000 },
      );
    }
  });

  it.each(['storage', 'transfer', 'discovery', 'chunker', 'redis'] as const)(
    'of %s amid 16 small uploads lose none that was answered, and list none in part',
    async (service) => {
      const peer = first();
      const dispatcher = new Agent({ connections: SMALL_IN_FLIGHT });
      const kept = new Map<string, string>();
      const tried = new Set<string>();
      let next = 0;
      const send = async (): Promise<void> => {
        for (let index = next++; index < SMALL_FILES; index = next++) {
          if (index === SMALL_FILES / 3) peer.killOne(service);
          const name = `${service} ${index}`;
          tried.add(name);
          const url = `${peer.chunker}/files/${encodeURIComponent(name)}`;
          const body = seededBytes(name, SMALL_SIZE_BYTES);
          try {
            const answer = await request(url, { method: 'PUT', body, dispatcher });
            const said = (await answer.body.json()) as { cid: string };
            if (answer.statusCode === 201) kept.set(name, said.cid);
          } catch {
            // No answer: it may be there, and may not.
          }
        }
      };
      await Promise.all(Array.from({ length: SMALL_IN_FLIGHT }, send));
      await dispatcher.close();
      await eventually('uploads go on', async () => {
        const after = { name: `${service} after`, seed: `${service} after`, sizeBytes: 1 };
        return (await upload(peer.chunker, after)).status === 201;
      });
      for (const [name, cid] of kept)
        expect(await bytesAt(swarm.peers.at(-1), cid)).toEqual(seededBytes(name, SMALL_SIZE_BYTES));
      for (const other of swarm.peers)
        await eventually('it lists each that was answered', async () => {
          const names = new Set(await listNames(other));
          return [...kept.keys()].every((name) => names.has(name));
        });
      // What is listed is whole, also when nobody was told so.
      const listed = (await listAll(first())).filter(({ name }) => tried.has(name));
      for (const { name, cid } of listed)
        expect(await bytesAt(peer, cid)).toEqual(seededBytes(name, SMALL_SIZE_BYTES));
      expect(kept.size).toBeGreaterThan(0);
    },
    60_000,
  );

  it('leave no files behind in the storage’s draft folder', async () => {
    for (const { dataDir } of swarm.peers)
      await eventually('drafts are gone', () => readdirSync(`${dataDir}/storage/tmp`).length === 0);
  });
});
