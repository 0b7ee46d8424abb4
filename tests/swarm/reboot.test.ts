import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  eventually,
  listAlive,
  metric,
  type RunningPeer,
  type RunningSwarm,
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

const copiedAt = (peer: RunningPeer): Promise<number> =>
  metric(peer.transfer, 'shoal_transfer_blocks_replicated_total', {
    direction: 'in',
    outcome: 'copied',
  });

describe('a reboot of a peer', () => {
  let swarm: RunningSwarm;
  beforeAll(async () => {
    swarm = await startSwarm(4, {
      processes: 'per peer',
      env: { TRANSFER_SETTLE_DELAY_MS: '500' },
    });
  });
  afterAll(async () => {
    await swarm[Symbol.asyncDispose]();
  });

  it('copies nothing, at it or anywhere', async () => {
    const { peers } = swarm;
    const cids = await uploadAll(peers);
    const digests = await allDigests();
    await eventually(
      'each block lies on three disks',
      async () => (await copiesOnDisk(peers, digests)).most === REPLICAS,
      { timeoutMs: REPAIR_TIMEOUT_MS },
    );
    for (const [index, peer] of peers.entries()) {
      const others = peers.filter((other) => other !== peer);
      const before = await Promise.all(others.map(copiedAt));
      await (index % 2 === 0 ? peer.kill() : peer.stop());
      await eventually('the others miss it', async () =>
        (await Promise.all(others.map(listAlive))).every(({ length }) => length === others.length),
      );
      await peer.start();
      await untilAllSee(peers, peers.length);
      await eventually(
        'it has looked at all its files',
        async () =>
          (await metric(peer.transfer, 'shoal_transfer_files_settled_total', {
            outcome: 'settled',
          })) >= FILES.length,
        { timeoutMs: 30_000 },
      );
      expect(await copiedAt(peer)).toBe(0);
      expect(await Promise.all(others.map(copiedAt))).toEqual(before);
      await eventually('it sees all copies again', async () => {
        return (await fewestCopies(peer, cids)) === REPLICAS;
      });
    }
  });
});
