import { MiB, REPLICAS_DEFAULT } from '@shoal/protocol';
import { eventually, type RunningPeer } from '@shoal/testkit';
import { blockPath, chunkDigestsOf, isSound, listBlocks } from '../disks.ts';
import { formatMs } from '../ledger.ts';
import { checkReadable, type KnownFile, nameOf } from '../model.ts';
import { ROT, type Rot } from '../rot.ts';
import { add, at, fileOf, type Rig, type Scenario } from '../rig.ts';
import { steadySwarm } from '../stage.ts';
import { scrub, upkeep } from '../upkeep.ts';

/** With three replicas on five peers, some peer holds at least three fifths of these chunks. */
const FILE_SIZE_BYTES = 40 * MiB;
const SCRUB_TIMEOUT_MS = 60_000;

export const bitRot: Scenario = {
  id: 'R7',
  promise: 'bit rot on a replica: scrub finds all of it, all is healed, none is served meanwhile',
  open: steadySwarm,
  scale: { short: 1, long: 20 },
  async run(rig) {
    const { peers } = rig.stage;
    const file = await add(rig, at(peers, 0), fileOf(rig, 'r7', FILE_SIZE_BYTES));
    const digests = await chunkDigestsOf(file);
    await untilPlaced(rig, digests);
    for (let round = 0; round < rig.scale; round += 1) {
      const random = rig.random.fork(round);
      const peer = random.pick(peers);
      const held = await listBlocks(peer);
      const candidates = digests.filter((digest) => held.has(digest));
      const damaged = await damage(rig, peer, random.sample(candidates, candidates.length));
      await scrubWhileRead(rig, peer, file, damaged);
    }
    rig.ledger.figure('slowest round', formatMs(at(rig.ledger.samples('round').slice(-1), 0)));
  },
};

/** The peer that took the file in drops what belongs elsewhere; a block that is dropped can't be healed. */
async function untilPlaced({ stage, signal }: Rig, digests: readonly string[]): Promise<void> {
  await eventually(
    'as many copies of each block as were asked for, and no more',
    async () => {
      signal.throwIfAborted();
      const held = await Promise.all(stage.peers.map(listBlocks));
      return digests.every(
        (digest) => held.filter((blocks) => blocks.has(digest)).length === REPLICAS_DEFAULT,
      );
    },
    { timeoutMs: SCRUB_TIMEOUT_MS },
  );
}

/** Does each kind of harm to blocks of its own. Answers the digests of all blocks harmed. */
async function damage(rig: Rig, peer: RunningPeer, candidates: string[]): Promise<string[]> {
  const damaged: string[] = [];
  for (const rot of ROT) {
    const victims = candidates.splice(0, rot.blocks);
    if (victims.length < rot.blocks) {
      rig.ledger.tried('kinds left out for want of blocks');
      continue;
    }
    const paths = victims.map((digest) => blockPath(peer, digest)) as [string, ...string[]]; // at least one
    await rig.inject(`${rot.what} at ${nameOf(peer)}`, () => apply(rot, paths));
    damaged.push(...victims);
  }
  return damaged;
}

async function apply({ act }: Rot, paths: readonly [string, ...string[]]): Promise<void> {
  await act(...paths);
}

async function scrubWhileRead(
  rig: Rig,
  peer: RunningPeer,
  file: KnownFile,
  damaged: readonly string[],
): Promise<void> {
  const { ledger, stage, isControl } = rig;
  const startedAtMs = performance.now();
  const readers = [peer, ...stage.peers.filter((other) => other !== peer).slice(0, 1)];
  const before = await upkeep(peer);
  const reading = Promise.all(readers.map((reader) => checkReadable(file, reader, ledger, rig)));
  await scrub(peer);
  const after = await eventually(
    `${nameOf(peer)} has scrubbed and healed all`,
    async () => {
      rig.signal.throwIfAborted();
      const { damaged: left, healedBlocks, scrub: rounds } = await upkeep(peer);
      const { lastWhole } = rounds;
      const isNew = (lastWhole?.startedAtMs ?? 0) > (before.scrub.lastWhole?.startedAtMs ?? 0);
      return isNew && left.blocks === 0 ? { healedBlocks } : undefined;
    },
    { timeoutMs: SCRUB_TIMEOUT_MS },
  );
  await reading;
  ledger.sample('round', performance.now() - startedAtMs);
  ledger.tried('blocks damaged', isControl ? 0 : damaged.length);
  const found = after.healedBlocks - before.healedBlocks;
  const expected = isControl ? 0 : damaged.length;
  if (found !== expected)
    ledger.blame('broken', `${expected} blocks damaged, ${found} found and healed`);
  for (const digest of damaged)
    if (!(await isSound(peer, digest)))
      ledger.blame('broken', `${digest} is not sound at ${nameOf(peer)} after the scrub`);
}
