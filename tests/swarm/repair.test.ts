import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  download,
  eventually,
  type RunningPeer,
  type RunningSwarm,
  seededStream,
  sha256Of,
  startSwarm,
  untilAllSee,
} from '@shoal/testkit';
import {
  allDigests,
  copiesOnDisk,
  fewestCopies,
  FILES,
  REPAIR_TIMEOUT_MS,
  REPLICAS,
  uploadAll,
} from './files-on-disk.ts';

const OUT_AFTER_MS = 3000;

describe('repair', () => {
  let swarm: RunningSwarm;
  let cids: string[];
  let digests: string[];
  const exactlyOnDisk = (peers: readonly RunningPeer[]) =>
    eventually(
      () =>
        `each block lies on ${REPLICAS} disks\n${peers.map((peer) => peer.logTails()).join('\n')}`,
      async () => {
        const { least, most } = await copiesOnDisk(peers, digests);
        return least === REPLICAS && most === REPLICAS;
      },
      { timeoutMs: REPAIR_TIMEOUT_MS },
    );
  const downloadsAreRight = async (peers: readonly RunningPeer[]) => {
    for (const [index, file] of FILES.entries()) {
      const peer = peers[index % peers.length];
      const cid = cids[index];
      if (peer === undefined || cid === undefined) throw new Error('no such file');
      const sha256 = await sha256Of(seededStream(file.seed, file.sizeBytes));
      expect(await download(peer.transfer, cid)).toMatchObject({ status: 200, sha256 });
    }
  };
  beforeAll(async () => {
    swarm = await startSwarm(5, {
      processes: 'per peer',
      env: { MEMBER_OUT_AFTER_MS: String(OUT_AFTER_MS), TRANSFER_SETTLE_DELAY_MS: '500' },
    });
    cids = await uploadAll(swarm.peers);
    digests = await allDigests();
    await exactlyOnDisk(swarm.peers);
  });
  afterAll(async () => {
    await swarm[Symbol.asyncDispose]();
  });

  it('makes new copies of what a peer held that stays away, and trims them to three when it is back', async () => {
    const [away, ...others] = swarm.peers;
    if (away === undefined) throw new Error('no peers');
    await away.kill();
    await exactlyOnDisk(others);
    for (const peer of others)
      await eventually('all have three copies', async () => {
        return (await fewestCopies(peer, cids)) === REPLICAS;
      });
    await away.start();
    await untilAllSee(swarm.peers, swarm.peers.length);
    await exactlyOnDisk(swarm.peers);
    await downloadsAreRight(swarm.peers);
  });

  it('brings every file back to three copies after two of five were destroyed', async () => {
    const [first, second, ...others] = swarm.peers;
    if (first === undefined || second === undefined) throw new Error('no peers');
    await Promise.all([first.kill(), second.kill()]);
    await Promise.all([first.wipe(), second.wipe()]);
    await exactlyOnDisk(others);
    for (const peer of others)
      await eventually('all have three copies', async () => {
        return (await fewestCopies(peer, cids)) === REPLICAS;
      });
    await downloadsAreRight(others);

    await Promise.all([first.start(), second.start()]); // new peers: their identity was wiped too
    await untilAllSee(swarm.peers, swarm.peers.length);
    await exactlyOnDisk(swarm.peers);
    await downloadsAreRight(swarm.peers);
  });
});
