import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { MiB } from '@shoal/protocol';
import {
  download,
  eventually,
  health,
  metric,
  type RunningPeer,
  type RunningSwarm,
  seededStream,
  sha256Of,
  startSwarm,
  untilAllSee,
  upload,
} from '@shoal/testkit';

const FILE = { name: 'long.bin', seed: 'long', sizeBytes: 64 * MiB };

describe('joining and leaving during a transfer', () => {
  let swarm: RunningSwarm;
  beforeAll(async () => {
    swarm = await startSwarm(3, { processes: 'per peer' });
  });
  afterAll(async () => {
    await swarm[Symbol.asyncDispose]();
  });

  it('a peer that comes back mid-transfer is used in that transfer', async () => {
    const [reader, uploader, returning] = swarm.peers as unknown as [
      RunningPeer,
      RunningPeer,
      RunningPeer,
    ];
    const { reply } = await upload(uploader.chunker, FILE, { query: 'replicas=2' });
    await eventually(
      'it is spread',
      async () => {
        const { state, holders } = await health(reader.discovery, reply.cid);
        return state === 'safe' && holders.length === 3 && holders.every(({ share }) => share < 1);
      },
      { timeoutMs: 30_000 },
    );
    await returning.kill();
    let isBack = false;
    const got = await download(reader.transfer, reply.cid, {
      async onBytes(receivedBytes) {
        if (isBack || receivedBytes < 8 * MiB) return;
        isBack = true;
        await returning.start();
        await untilAllSee([reader], 3);
      },
    });
    expect(got).toMatchObject({
      status: 200,
      sha256: await sha256Of(seededStream(FILE.seed, FILE.sizeBytes)),
    });
    expect(
      await metric(returning.storage, 'shoal_http_request_duration_seconds_count', {
        route: '/blocks/:cid',
        method: 'GET',
        status: '200',
      }),
    ).toBeGreaterThan(0);
  });

  it('a new peer gets its share without disturbing a transfer, and serves files it never heard of', async () => {
    const [reader, uploader] = swarm.peers as unknown as [RunningPeer, RunningPeer];
    const { reply } = await upload(uploader.chunker, { ...FILE, seed: 'other' });
    const sha256 = await sha256Of(seededStream('other', FILE.sizeBytes));
    let joining: Promise<RunningPeer> | undefined;
    const got = await download(reader.transfer, reply.cid, {
      onBytes(receivedBytes) {
        if (receivedBytes > 2 * MiB) joining ??= swarm.addPeer();
      },
    });
    expect(got).toMatchObject({ status: 200, sha256 });
    const joined = await joining;
    if (joined === undefined) throw new Error('nobody joined');
    expect(await download(joined.transfer, sha256)).toMatchObject({ status: 200, sha256 });
    await eventually(
      'it holds its share',
      async () => {
        const { holders, state } = await health(uploader.discovery, reply.cid);
        const share = holders.find(({ peerId }) => peerId === joined.peerId)?.share ?? 0;
        return state === 'safe' && share > 0.3;
      },
      { timeoutMs: 60_000 },
    );
  });
});
