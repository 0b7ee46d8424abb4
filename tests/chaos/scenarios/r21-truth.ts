import { KiB } from '@shoal/protocol';
import { startLoad } from '../load.ts';
import { compare, type KnownFile, nameOf } from '../model.ts';
import { add, fileOf, pass, revive, type Rig, type Scenario } from '../rig.ts';
import { quickSwarm } from '../stage.ts';
import { watchTruth } from '../truth.ts';

/** Few files, of which each is asked about all the time; and more than one question holds. */
const FILES = [5, 100];
/** Large enough to have a file of its own on a disk. */
const FILE_SIZE_BYTES = 200 * KiB;
/** Shorter than the grace of an absent peer, and longer. */
const AWAY_MS = [2000, 9000];
const CALM_MS = 4000;
const UPLOADS_AT_ONCE = 4;

export const truth: Scenario = {
  id: 'R21',
  promise:
    'peers are killed and stopped and come back, under load: no list and no health says more or fewer copies than the disks had at its date, without naming who did not answer',
  open: quickSwarm,
  // Times that a peer goes, for each number of files.
  scale: { short: 2, long: 60 },
  async run(rig) {
    for (const count of FILES) await watchOver(rig, count);
  },
};

async function watchOver(rig: Rig, count: number): Promise<void> {
  const { stage, random, ledger, model } = rig;
  const { peers } = stage;
  const files: KnownFile[] = [];
  const names = Array.from({ length: count }, (_, index) => `r21-${count}-${index}`).values();
  const uploadSome = async (): Promise<void> => {
    for (const name of names)
      files.push(await add(rig, random.fork(name).pick(peers), fileOf(rig, name, FILE_SIZE_BYTES)));
  };
  await Promise.all(Array.from({ length: UPLOADS_AT_ONCE }, uploadSome));
  let away: (typeof peers)[number] | undefined;
  const load = startLoad(rig, {
    files: files.slice(0, 5),
    peers: () => peers.filter((peer) => peer !== away),
    onFailure: (kind) => ledger.tried(`${kind}s failed`),
  });
  const watch = watchTruth(rig, files);
  for (let turn = 0; turn < (rig.isControl ? 1 : rig.scale); turn += 1) {
    const choice = random.fork(`${count}-${turn}`);
    const peer = choice.pick(peers);
    const isKilled = choice.share() < 0.5;
    await rig.inject(`${nameOf(peer)} ${isKilled ? 'is killed' : 'is stopped'}`, async () => {
      away = peer;
      await (isKilled ? peer.kill() : peer.stop());
    });
    await pass(AWAY_MS[turn % AWAY_MS.length] ?? CALM_MS, rig);
    await revive(peers);
    away = undefined;
    await pass(CALM_MS, rig);
  }
  await load.stop();
  await watch.stop();
  await compare(model, peers, ledger, rig);
}
