/**
 * One byte out of a large file, asked of a peer that holds none of its leaves: what it costs must not
 * depend on where in the file the byte is, nor on the file's size.
 */
import { env } from 'node:process';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { MiB } from '@shoal/protocol';
import {
  eventually,
  health,
  type HostedSwarm,
  metric,
  type Peer,
  seededStream,
  startHostedSwarm,
  upload,
} from '@shoal/testkit';
import { ask } from './ask.ts';
import { SETTLES_SOON } from './rig.ts';

/** 1 GiB with SHOAL_BIG=1: two levels of manifests instead of one. */
const SIZE_BYTES = (env['SHOAL_BIG'] === '1' ? 1024 : 64) * MiB + 1;
const FETCHED_BLOCKS_MAX = 3;
/** With second asks and refusals on a busy machine; reading a window ahead would be more. */
const ASKED_BLOCKS_MAX = 8;
const FILE = { name: 'large.bin', seed: 'large', sizeBytes: SIZE_BYTES };

async function byteAt(offset: number): Promise<Buffer> {
  let at = 0;
  for await (const piece of seededStream(FILE.seed, FILE.sizeBytes)) {
    if (offset < at + piece.length) return piece.subarray(offset - at, offset - at + 1);
    at += piece.length;
  }
  throw new RangeError(`there is no byte ${offset}`);
}

describe('a range read through a peer that holds no leaf of the file', () => {
  let swarm: HostedSwarm;
  let reader: Peer;
  let cid: string;
  beforeAll(async () => {
    // The last one is so small beside the others that placement gives it no leaf. Settling brings it
    // the file's root while it is asked, which counts as a fetch too.
    swarm = await startHostedSwarm(3, {
      env: SETTLES_SOON,
      envOf: (index) => (index === 2 ? { STORAGE_CAPACITY_BYTES: String(MiB) } : {}),
    });
    const [first, , last] = swarm.peers as [Peer, Peer, Peer];
    reader = last;
    const { reply } = await upload(first.gateway, FILE, { query: 'replicas=1&copies=1' });
    ({ cid } = reply);
    await eventually('the reader knows the file and both others', async () => {
      const { state, holders } = await health(reader.discovery, cid);
      return state === 'safe' && holders.length > 0;
    });
  }, 300_000);
  afterAll(async () => {
    await swarm[Symbol.asyncDispose]();
  });

  /** Blocks that other peers were asked for so far, and those that came. */
  const fetched = async () => {
    const count = (labels: Readonly<Record<string, string>>) =>
      metric(reader.transfer, 'shoal_transfer_blocks_fetched_total', { source: 'peer', ...labels });
    return { asked: await count({}), verified: await count({ outcome: 'verified' }) };
  };

  it.each([
    ['/ipfs/', 0],
    ['/ipfs/', 50],
    ['/ipfs/', 99],
    ['/files/', 0],
    ['/files/', 50],
    ['/files/', 99],
  ])('C: %s at %d %% fetches three blocks at most', async (way, percent) => {
    const offset = Math.floor((SIZE_BYTES * percent) / 100);
    const before = await fetched();
    const { status, headers, body } = await ask(reader.gateway, `${way}${cid}`, {
      headers: { range: `bytes=${offset}-${offset}` },
    });
    expect(status).toBe(206);
    expect(headers['content-range']).toBe(`bytes ${offset}-${offset}/${SIZE_BYTES}`);
    expect(body.equals(await byteAt(offset))).toBe(true);
    const after = await fetched();
    expect(after.verified - before.verified).toBeGreaterThan(0);
    expect(after.verified - before.verified).toBeLessThanOrEqual(FETCHED_BLOCKS_MAX);
    expect(after.asked - before.asked).toBeLessThanOrEqual(ASKED_BLOCKS_MAX);
  });
});
