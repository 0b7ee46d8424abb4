import { MiB, transferRoutes } from '@shoal/protocol';
import { eventually, type RunningPeer } from '@shoal/testkit';
import { request } from 'undici';
import { untilAllSafe } from '../destruction.ts';
import { chunkDigestsOf, fewestCopies, imageDisks } from '../disks.ts';
import { formatMs, quantile } from '../ledger.ts';
import { startLoad } from '../load.ts';
import { compare, type KnownFile, nameOf } from '../model.ts';
import { add, at, fileOf, revive, type Rig, type Scenario } from '../rig.ts';
import { quickSwarm } from '../stage.ts';

const FILES = 4;
const FILE_SIZE_BYTES = 4 * MiB;
const REPLICAS = 3;
const DRAINED_WITHIN_MS = 60_000;
const SAFE_WITHIN_MS = 60_000;

export const drain: Scenario = {
  id: 'R16',
  promise:
    'a peer that is drained, or told to stop, under load: no client sees an error, and nothing that only it held is gone',
  open: quickSwarm,
  scale: { short: 1, long: 10 },
  async run(rig) {
    for (let round = 0; round < rig.scale; round += 1) {
      const leaver = rig.random.fork(round).pick(rig.stage.peers);
      await drainOnce(rig, leaver, round);
      await terminateOnce(rig, leaver, round);
    }
    rig.ledger.figure('drained within', formatMs(quantile(rig.ledger.samples('drained'), 1)));
  },
};

/** Drained, stopped, and its disk given away: the others have all of it. */
async function drainOnce(rig: Rig, leaver: RunningPeer, round: number): Promise<void> {
  const { stage, ledger, model } = rig;
  const others = stage.peers.filter((peer) => peer !== leaver);
  const files: KnownFile[] = [];
  for (let index = 0; index < FILES; index += 1)
    files.push(await add(rig, leaver, fileOf(rig, `r16-${round}-${index}`, FILE_SIZE_BYTES)));
  const onFailure = (_: string, what: string) => ledger.blame('failed', what);
  const load = startLoad(rig, { files, peers: () => others, onFailure });
  await rig.inject(`drain ${nameOf(leaver)}`, async () => {
    ledger.tried('drains');
    const startedAtMs = performance.now();
    await askDrain(leaver, 'POST');
    await eventually(
      `${nameOf(leaver)} is drained`,
      async () => (await askDrain(leaver, 'GET')).isDrained,
      { timeoutMs: DRAINED_WITHIN_MS },
    );
    ledger.sample('drained', performance.now() - startedAtMs);
    await leaver.stop();
    await leaver.wipe();
    const disks = await imageDisks(others);
    for (const file of files) {
      const copies = fewestCopies(await chunkDigestsOf(file), disks);
      if (copies < REPLICAS)
        ledger.blame('broken', `${file.name}: ${copies} copies after the drain`);
    }
  });
  await load.stop();
  await compare(model, others, ledger, rig);
  await untilAllSafe(rig, at(others, 0), SAFE_WITHIN_MS);
  await revive(stage.peers);
  await untilAllSafe(rig, at(others, 0), SAFE_WITHIN_MS);
}

/** Told to stop right after uploads of which only it has a copy, then its disk is gone. */
async function terminateOnce(rig: Rig, leaver: RunningPeer, round: number): Promise<void> {
  const { stage, ledger, model } = rig;
  const others = stage.peers.filter((peer) => peer !== leaver);
  const known = model.live();
  const onFailure = (_: string, what: string) => ledger.blame('failed', what);
  const load = startLoad(rig, { files: known.slice(0, FILES), peers: () => others, onFailure });
  for (let index = 0; index < FILES; index += 1)
    await add(rig, leaver, fileOf(rig, `r16-${round}-last-${index}`, FILE_SIZE_BYTES), 'copies=1');
  await rig.inject(`SIGTERM to ${nameOf(leaver)}`, async () => {
    ledger.tried('stops');
    await leaver.stop();
    await leaver.wipe();
  });
  await load.stop();
  await compare(model, others, ledger, rig);
  await revive(stage.peers);
}

async function askDrain({ transfer }: RunningPeer, method: 'GET' | 'POST') {
  const { path, reply } = method === 'GET' ? transferRoutes.drainState : transferRoutes.startDrain;
  const { statusCode, body } = await request(`${transfer}${path}`, { method });
  const json: unknown = await body.json();
  if (statusCode !== 200) throw new Error(`drain: ${statusCode} ${JSON.stringify(json)}`);
  return reply.parse(json);
}
