import { createHash } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { MiB } from '@shoal/protocol';
import {
  download,
  eventually,
  health,
  listAlive,
  metric,
  type RunningPeer,
  type RunningSwarm,
  seededStream,
  sha256Of,
  startSwarm,
  type TestFile,
  untilAllSee,
  upload,
} from '@shoal/testkit';

const REPLICAS = 3;
const OUT_AFTER_MS = 3000;
const REPAIR_TIMEOUT_MS = 60_000;
const FILES = Array.from({ length: 6 }, (_, index): TestFile => ({
  name: `file-${index}.bin`,
  seed: `repair ${index}`,
  sizeBytes: (3 + index) * MiB,
}));

/** The chunks of a file, by the names of their files on disk. */
async function digestsOf({ seed, sizeBytes }: TestFile): Promise<string[]> {
  const digests: string[] = [];
  for await (const chunk of seededStream(seed, sizeBytes, MiB))
    digests.push(createHash('sha256').update(chunk).digest('hex'));
  return digests;
}

async function blocksOnDisk({ dataDir }: RunningPeer): Promise<Set<string>> {
  const folder = join(dataDir, 'storage', 'blocks');
  const names = await readdir(folder, { recursive: true });
  return new Set(names.map((name) => name.split('/').at(-1) ?? name));
}

/** On how many of these disks each chunk of the files lies: the least and the most of it. */
async function copiesOnDisk(peers: readonly RunningPeer[], digests: readonly string[]) {
  const disks = await Promise.all(peers.map(blocksOnDisk));
  const copies = digests.map((digest) => disks.filter((disk) => disk.has(digest)).length);
  return { least: Math.min(...copies), most: Math.max(...copies) };
}

/** Fewest copies over the files, as a peer answers it. */
async function fewestCopies(peer: RunningPeer, cids: readonly string[]): Promise<number> {
  const all = await Promise.all(cids.map((cid) => health(peer.discovery, cid)));
  return Math.min(...all.map(({ copies }) => copies));
}

const copiedAt = (peer: RunningPeer): Promise<number> =>
  metric(peer.transfer, 'shoal_transfer_blocks_replicated_total', {
    direction: 'in',
    outcome: 'copied',
  });

async function uploadAll(peers: readonly RunningPeer[]): Promise<string[]> {
  const cids: string[] = [];
  for (const [index, file] of FILES.entries()) {
    const peer = peers[index % peers.length];
    if (peer === undefined) throw new Error('no peers');
    const { reply } = await upload(peer.chunker, file, {
      query: `replicas=${REPLICAS}&copies=${REPLICAS}`,
    });
    cids.push(reply.cid);
  }
  return cids;
}

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
    digests = (await Promise.all(FILES.map(digestsOf))).flat();
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
    const digests = (await Promise.all(FILES.map(digestsOf))).flat();
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
