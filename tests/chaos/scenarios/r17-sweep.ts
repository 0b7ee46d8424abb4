import { MiB } from '@shoal/protocol';
import { eventually, listFiles, type RunningPeer } from '@shoal/testkit';
import { untilAllSafe } from '../destruction.ts';
import { chunkDigestsOf, fewestCopies, imageDisks, listBlocks } from '../disks.ts';
import { compare, nameOf } from '../model.ts';
import { add, at, fileOf, revive, type Rig, type Scenario } from '../rig.ts';
import { runJest } from '../run-jest.ts';
import { quickSwarm } from '../stage.ts';
import { purge, sweep } from '../upkeep.ts';

const FILE_SIZE_BYTES = 4 * MiB;
const AGREED_WITHIN_MS = 30_000;
/** Garbage is condemned by one round and deleted by the next. */
const SWEEPS = 2;
/** Operations of storage's own model test, which the long form runs with more. */
const OPERATIONS_LONG = 100_000;

export const sweepSafety: Scenario = {
  id: 'R17',
  promise:
    'files are deleted for good while a peer is away: they stay deleted, their bytes are gone within two sweeps, and no byte of another file',
  open: quickSwarm,
  scale: { short: 1, long: 10 },
  async run(rig) {
    for (let round = 0; round < rig.scale; round += 1) await deleteWhileAway(rig, round);
    if (!rig.isControl && !rig.isShort) await runModelTest(rig);
  },
};

async function deleteWhileAway(rig: Rig, round: number): Promise<void> {
  const { stage, ledger, model } = rig;
  const { peers } = stage;
  const random = rig.random.fork(round);
  const away = random.pick(peers);
  const others = peers.filter((peer) => peer !== away);
  const name = (what: string) => fileOf(rig, `r17-${round}-${what}`, FILE_SIZE_BYTES);
  const doomed = [await add(rig, away, name('doomed-1')), await add(rig, away, name('doomed-2'))];
  const kept = await add(rig, random.pick(others), name('kept'));
  const doomedDigests = (await Promise.all(doomed.map(chunkDigestsOf))).flat();
  await untilAllSafe(rig, at(others, 0), AGREED_WITHIN_MS);

  await rig.inject(`kill ${nameOf(away)}`, () => away.kill());
  for (const file of doomed) {
    await purge(random.pick(others), file.cid);
    model.forget(file);
    ledger.tried('deletions');
  }
  await revive(peers);
  await eventually(
    'nobody lists what was deleted',
    async () => {
      rig.signal.throwIfAborted();
      const lists = await Promise.all(peers.map((peer) => listFiles(peer.discovery)));
      return lists.every((files) => files.every(({ cid }) => doomed.every((f) => f.cid !== cid)));
    },
    { timeoutMs: AGREED_WITHIN_MS },
  );
  for (let sweeps = 0; sweeps < SWEEPS; sweeps += 1)
    for (const peer of peers) {
      await sweep(peer);
      ledger.tried('sweeps');
    }
  for (const peer of peers) await checkGone(rig, peer, doomedDigests);
  await untilAllSafe(rig, away, AGREED_WITHIN_MS);
  const copies = fewestCopies(await chunkDigestsOf(kept), await imageDisks(peers));
  if (copies < kept.replicas) ledger.blame('broken', `${kept.name}: ${copies} copies are left`);
  await compare(model, peers, ledger, rig);
}

async function checkGone({ ledger }: Rig, peer: RunningPeer, digests: readonly string[]) {
  const held = await listBlocks(peer);
  const left = digests.filter((digest) => held.has(digest)).length;
  if (left > 0)
    ledger.blame('broken', `${left} deleted blocks at ${nameOf(peer)} after ${SWEEPS} sweeps`);
}

async function runModelTest({ ledger, signal }: Rig): Promise<void> {
  const path = 'services/storage/test/integration/sweep-model.test.ts';
  const env = { MODEL_OPERATIONS: String(OPERATIONS_LONG) };
  const ran = await runJest(path, { env, signal });
  if (ran === undefined) return ledger.figure('model test', 'not there');
  ledger.figure('model tests', ran.passed);
  if (ran.failed > 0) ledger.blame('broken', `the model test of storage: ${ran.output}`);
}
