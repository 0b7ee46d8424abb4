import { KiB } from '@shoal/protocol';
import { eventually, type RunningPeer } from '@shoal/testkit';
import { untilAllSafe } from '../destruction.ts';
import { chunkDigestsOf, fewestCopies, imageDisks } from '../disks.ts';
import { formatMs, quantile } from '../ledger.ts';
import { compare } from '../model.ts';
import { add, at, fileOf, revive, type Rig, type Scenario } from '../rig.ts';
import { thirtyPeers } from '../stage.ts';
import { statesAt, watchTruth } from '../truth.ts';

const FILES = 100;
/** Large enough to have a file of its own on a disk. */
const FILE_SIZE_BYTES = 200 * KiB;
const KILLED = 5;
const WITNESSES = 3;
const UPLOADS_AT_ONCE = 4;
const LISTED_WITHIN_MS = 10_000;
/** The machine has two cores for all: each copy is made within seconds of its turn. */
const SAFE_WITHIN_MS = 180_000;
/** Fives that would take all copies of a file along are passed over, as nothing could be repaired. */
const CHOICES_MAX = 50;

export const manyPeers: Scenario = {
  id: 'R30',
  promise:
    'of thirty peers on one machine five are killed: all others list them as away within 10 s, every file gets its copies back, and nobody says more or fewer than the disks had',
  open: thirtyPeers,
  scale: { short: 1, long: 3 },
  isByHand: true,
  async run(rig) {
    const { stage, ledger, random } = rig;
    const names = Array.from({ length: FILES }, (_, index) => `r30-${index}`).values();
    const uploadSome = async (): Promise<void> => {
      for (const name of names)
        await add(rig, random.fork(name).pick(stage.peers), fileOf(rig, name, FILE_SIZE_BYTES));
    };
    await Promise.all(Array.from({ length: UPLOADS_AT_ONCE }, uploadSome));
    // Each question for a file's health asks all others: asked at thirty, two cores would do nothing else.
    const watch = watchTruth(rig, random.fork('witnesses').sample(stage.peers, WITNESSES));
    for (let round = 0; round < (rig.isControl ? 1 : rig.scale); round += 1) {
      const killed = await chooseFive(rig, round);
      const left = stage.peers.filter((peer) => !killed.includes(peer));
      const killedAtMs = performance.now();
      await rig.inject(`kill ${KILLED} of ${stage.peers.length}`, async () => {
        await Promise.all(killed.map((peer) => peer.kill()));
        await Promise.all(left.map((peer) => untilAway(peer, killed)));
        ledger.sample('listed', performance.now() - killedAtMs);
      });
      await untilAllSafe(rig, at(left, 0), SAFE_WITHIN_MS);
      ledger.sample('safe', performance.now() - killedAtMs);
      await compare(rig.model, [at(left, 1)], ledger, rig);
      // Together they would wait for two cores past any deadline.
      for (const peer of rig.isControl ? [] : killed) await peer.start();
      await revive(stage.peers);
    }
    await watch.stop();
    const longest = (series: string) => formatMs(quantile(ledger.samples(series), 1));
    if (!rig.isControl) ledger.figure('listed as away by all within', longest('listed'));
    ledger.figure('safe again within', longest('safe'));
  },
};

/** Peers that no file has all its copies at. */
async function chooseFive(rig: Rig, round: number): Promise<RunningPeer[]> {
  const { peers } = rig.stage;
  const disks = await imageDisks(peers);
  const digests = await Promise.all(rig.model.live().map(chunkDigestsOf));
  for (let choice = 0; choice < CHOICES_MAX; choice += 1) {
    const five = rig.random.fork(`${round}-${choice}`).sample(peers, KILLED);
    const others = new Map([...disks].filter(([peer]) => !five.includes(peer)));
    if (digests.every((each) => fewestCopies(each, others) > 0)) return five;
  }
  throw new Error('any five peers have all copies of a file');
}

async function untilAway(peer: RunningPeer, killed: readonly RunningPeer[]): Promise<void> {
  await eventually(
    `${peer.peerId} lists them as away`,
    async () => {
      const states = await statesAt(peer);
      return killed.every(({ peerId }) => states.get(peerId) !== 'alive');
    },
    { timeoutMs: LISTED_WITHIN_MS },
  );
}
