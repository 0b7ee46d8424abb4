import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { discoveryRoutes, MiB, type MemberState, type PeerId } from '@shoal/protocol';
import {
  BAD_MANNERS,
  type BadManner,
  download,
  eventually,
  health,
  metric,
  type RunningPeer,
  type RunningSwarm,
  seededStream,
  sha256Of,
  startSwarm,
  turnBad,
  untilAllSee,
  upload,
} from '@shoal/testkit';
import { request } from 'undici';

const FILE = { name: 'film.mp4', seed: 'film', sizeBytes: 48 * MiB };
const sha256 = sha256Of(seededStream(FILE.seed, FILE.sizeBytes));

/** The state in which one peer lists another. */
async function stateOf(at: RunningPeer, peerId: PeerId): Promise<MemberState | undefined> {
  const { body } = await request(`${at.discovery}/peers`);
  const { peers } = discoveryRoutes.listPeers.reply.parse(await body.json());
  return peers.find((peer) => peer.peerId === peerId)?.state;
}

const third = (peers: readonly RunningPeer[]): RunningPeer => {
  const peer = peers[2];
  if (peer === undefined) throw new Error('no third peer');
  return peer;
};

describe('when a peer fails', () => {
  let swarm: RunningSwarm | undefined;
  afterEach(async () => {
    await swarm?.[Symbol.asyncDispose]();
    swarm = undefined;
  });
  const start = async (count: number): Promise<[RunningPeer, ...RunningPeer[]]> => {
    swarm = await startSwarm(count, { processes: 'per peer' });
    const [first, ...others] = swarm.peers;
    if (first === undefined) throw new Error('no peers');
    return [first, ...others];
  };
  it('mid-download with -9, the reader sees nothing; it is listed as down within 3 s, and comes back with its data', async () => {
    const peers = await start(4);
    const [first, reader] = peers as unknown as [RunningPeer, RunningPeer];
    const victim = third(peers);
    const { reply } = await upload(first.chunker, FILE, { query: 'copies=3' });
    let killedAtMs: number | undefined;
    const got = await download(reader.transfer, reply.cid, {
      async onBytes(receivedBytes) {
        if (killedAtMs !== undefined || receivedBytes < 4 * MiB) return;
        killedAtMs = performance.now();
        await victim.kill();
      },
    });
    expect(got).toMatchObject({ status: 200, sha256: await sha256 });
    for (const other of peers.filter((peer) => peer !== victim))
      await eventually(
        'the others list it as down',
        async () => (await stateOf(other, victim.peerId)) === 'down',
        { timeoutMs: 3000 },
      );

    const startedAtMs = performance.now();
    expect(await download(first.transfer, reply.cid)).toMatchObject({ sha256: await sha256 });
    expect(performance.now() - startedAtMs).toBeLessThan(10_000); // it waits for nobody: no stall of seconds a block

    await victim.start();
    await untilAllSee(peers, peers.length);
    expect(await download(victim.transfer, reply.cid)).toMatchObject({ sha256: await sha256 });
    expect(
      await metric(victim.transfer, 'shoal_transfer_fetched_bytes_total', { source: 'own' }),
    ).toBeGreaterThan(0);
  });

  it('for good, a file that only it held a part of is broken off, never ended as if whole', async () => {
    const peers = await start(2);
    const [reader, victim] = peers as unknown as [RunningPeer, RunningPeer];
    const { reply } = await upload(victim.chunker, FILE, { query: 'replicas=1' });
    await eventually(
      'half of it is with the reader',
      async () => {
        const { holders } = await health(reader.discovery, reply.cid);
        return holders.length === 2 && holders.every(({ share }) => share < 1);
      },
      { timeoutMs: 30_000 },
    );
    await victim.kill();
    const outcome = await download(reader.transfer, reply.cid).catch((error: unknown) => error);
    // Either nothing was sent yet (a clean 503), or the connection broke before the last byte.
    const end =
      outcome instanceof Error ? outcome.message : `${(outcome as { status: number }).status}`;
    expect(end).toMatch(/^503$|terminated|closed|reset|hang up|aborted/);
    expect(await health(reader.discovery, reply.cid)).toMatchObject({
      state: 'reduced',
      copies: 0,
      causes: [{ kind: 'away', peers: [victim.peerId] }],
    });
    await victim.start();
    await untilAllSee(peers, 2);
    expect(await download(reader.transfer, reply.cid)).toMatchObject({ sha256: await sha256 });
  });
});

/** One swarm for all manners: its storage is mended after each. */
describe('when a peer fails', () => {
  let swarm: RunningSwarm;
  let reader: RunningPeer;
  let bad: RunningPeer;
  let cid: string;
  beforeAll(async () => {
    swarm = await startSwarm(3, {
      optionsOf: (index) => ({ processes: index < 2 ? 'per service' : 'per peer' }),
    });
    [reader, bad] = swarm.peers as [RunningPeer, RunningPeer];
    // Two copies over three peers: the reader lacks a third of the blocks, and may ask either of two.
    const { reply } = await upload(third(swarm.peers).chunker, FILE, { query: 'replicas=2' });
    ({ cid } = reply);
    await eventually(
      'it is spread',
      async () => {
        const { state, holders } = await health(third(swarm.peers).discovery, cid);
        return state === 'safe' && holders.every(({ share }) => share < 1);
      },
      { timeoutMs: 30_000 },
    );
  });
  afterAll(async () => {
    await swarm[Symbol.asyncDispose]();
  });

  it.each(Object.keys(BAD_MANNERS) as BadManner[])(
    'because its storage %s, others take its place',
    async (manner) => {
      await using storage = await turnBad(bad, manner);
      await eventually(
        'it still looks in good order',
        async () => (await stateOf(reader, bad.peerId)) === 'alive',
      );
      // A transfer that knows nobody yet: one that had found the bad peer slow would rightly not ask it.
      const before = reader.killOne('transfer');
      await eventually('the reader’s transfer is a new one', async () => {
        const { transfer } = reader.processIds();
        if (transfer === undefined || transfer === before) return false;
        return (await fetch(`${reader.transfer}/readyz`)).ok;
      });
      const got = await download(reader.transfer, cid);
      expect(got).toMatchObject({ status: 200, sizeBytes: FILE.sizeBytes, sha256: await sha256 });
      expect(storage.requests).toBeGreaterThan(0);
    },
  );
});
