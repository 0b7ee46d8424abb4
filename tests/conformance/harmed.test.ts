/** What the specifications ask of a swarm some of whose parts are wrong, deaf or gone: one of its own. */
import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { MiB } from '@shoal/protocol';
import {
  eventually,
  type RunningPeer,
  type RunningSwarm,
  seededBytes,
  signalProcess,
  startSwarm,
  turnBad,
  upload,
} from '@shoal/testkit';
import { CID } from 'multiformats/cid';
import * as Digest from 'multiformats/hashes/digest';
import { ask } from './ask.ts';
import { makeCar, rawLeaf } from './make-dag.ts';
import { DOORS, importBlock, importCar, providerIds, RAW } from './rig.ts';

const RAW_CODE = 0x55;
const SHA2_256 = 0x12;
/** Questions at one time: more than a router looks into. */
const ASKED_AT_ONCE = 400;
/** Some of them wait for the stopped storage, one after another, on a machine that runs other tests. */
const BURST_TIMEOUT_MS = 45_000;

describe('a swarm that is harmed', () => {
  let swarm: RunningSwarm;
  let importer: RunningPeer;
  let other: RunningPeer;
  let third: RunningPeer;
  let root: string;
  beforeAll(async () => {
    swarm = await startSwarm(3, {
      env: { STORAGE_SWEEP_GRACE_MS: '0' },
      // The third one's storage is stopped, and replaced, alone.
      optionsOf: (index) => ({ processes: index === 2 ? 'per service' : 'per peer' }),
    });
    [importer, other, third] = swarm.peers as [RunningPeer, RunningPeer, RunningPeer];
    const file = { name: 'routed.bin', seed: 'routed', sizeBytes: 3 * MiB + 1 };
    const { reply } = await upload(importer.chunker, file, { query: 'replicas=1&copies=1' });
    root = reply.cid;
    await eventually('every member is listed', async () => {
      const answer = await ask(other.discovery, `/routing/v1/providers/${root}`);
      return providerIds(answer).length === 3;
    });
  });
  afterAll(async () => {
    await swarm[Symbol.asyncDispose]();
  });

  describe.each(DOORS)('at %s', (door) => {
    const get = (path: string) => ask(door === DOORS[0] ? importer.gateway : other.transfer, path);

    it('S: what was deleted is 410 when nobody has it any more, and 404 as a block', async () => {
      const leaf = rawLeaf(Buffer.from(`deleted, asked for at ${door}`));
      const path = `/ipfs/${leaf.cid.toString()}`;
      await importCar(importer.gateway, Buffer.from(await makeCar(leaf.cid, [leaf])));
      expect((await get(path)).status).toBe(200);
      await ask(importer.gateway, `/files/${leaf.cid.toString()}?now`, { method: 'DELETE' });
      // A peer sweeps nothing before it knows all pins, which takes a while after its start.
      await eventually(
        'its bytes are gone',
        async () => {
          for (const peer of [importer, other, third])
            await ask(peer.storage, '/sweep', { method: 'POST' });
          return (await get(path)).status !== 200;
        },
        { timeoutMs: 45_000 },
      );
      expect((await get(path)).status).toBe(410);
      expect((await get(`${path}?format=raw`)).status).toBe(404);
    }, 60_000);
  });

  it('M: a storage that gives other bytes is not believed: the block comes from elsewhere', async () => {
    const bytes = seededBytes('guarded', 100_000);
    const { status } = await ask(importer.gateway, '/ipfs?replicas=3&copies=3', {
      method: 'POST',
      headers: { 'content-type': RAW },
      body: bytes,
      timeoutMs: 60_000,
    });
    expect(status).toBe(201);
    await using bad = await turnBad(third, 'wrong bytes');
    for (const origin of [third.transfer, third.gateway])
      for (const path of [
        `/ipfs/${rawLeaf(bytes).cid.toString()}?format=raw`,
        `/ipfs/${rawLeaf(bytes).cid.toString()}`,
      ]) {
        const answer = await ask(origin, path);
        expect([path, answer.status, answer.body.equals(bytes)]).toEqual([path, 200, true]);
      }
    expect(bad.requests).toBeGreaterThan(0);
  });

  it('C: who asks too much at once is told when to come again', async () => {
    const { storage } = third.processIds();
    if (storage === undefined) throw new Error('the storage of the third does not run');
    signalProcess(storage, 'SIGSTOP'); // each search waits for it
    try {
      let burst = 0;
      const refused = await eventually(
        'some of a burst are refused',
        async () => {
          burst += 1;
          const answers = await Promise.all(
            Array.from({ length: ASKED_AT_ONCE }, async (_, index) => {
              const digest = createHash('sha256').update(`nobody has ${burst}/${index}`).digest();
              const cid = CID.createV1(RAW_CODE, Digest.create(SHA2_256, digest));
              const path = `/routing/v1/providers/${cid.toString()}`;
              return ask(other.discovery, path, { timeoutMs: BURST_TIMEOUT_MS });
            }),
          );
          const others = answers.filter(({ status }) => status !== 200);
          expect(others.length).toBeLessThan(answers.length);
          return others.length > 0 && others;
        },
        { timeoutMs: BURST_TIMEOUT_MS },
      );
      for (const { status, headers } of refused) {
        expect([429, 503]).toContain(status);
        expect(headers['retry-after']).toMatch(/^[1-9]\d*$/);
        expect(headers['access-control-allow-origin']).toBe('*');
      }
    } finally {
      signalProcess(storage, 'SIGCONT');
    }
  });

  it('S: what only a dead peer held is 404, or 503 with Retry-After; within 10 s, and never another 5xx', async () => {
    const blocks = Array.from({ length: 12 }, (_, index) => seededBytes(`mortal ${index}`, 2000));
    for (const block of blocks) expect((await importBlock(third.gateway, block)).status).toBe(201);
    await third.kill();
    const answers = await Promise.all(
      blocks.map((block) => ask(other.transfer, `/ipfs/${rawLeaf(block).cid.toString()}`)),
    );
    expect(answers.some(({ status }) => status !== 200)).toBe(true);
    const outcomes = answers.map(
      ({ status, headers }) => `${status} ${headers['retry-after'] ?? 'without'}`,
    );
    expect(outcomes.filter((outcome) => !/^(200 |404 |503 \d+$)/.test(outcome))).toEqual([]);
  });

  it('C: a peer that is gone is no longer listed', async () => {
    const { peerId } = third;
    await third.kill();
    await eventually(
      'it is left out',
      async () => {
        const answer = await ask(other.discovery, `/routing/v1/providers/${root}`);
        return !providerIds(answer).includes(peerId);
      },
      { timeoutMs: 20_000 },
    );
    expect(providerIds(await ask(other.discovery, `/routing/v1/providers/${root}`))).toHaveLength(
      2,
    );
  });
});
