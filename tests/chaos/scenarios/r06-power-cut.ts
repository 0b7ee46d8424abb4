import { MiB } from '@shoal/protocol';
import { eventually, listFiles, type RunningPeer, type TestFile, upload } from '@shoal/testkit';
import { harmedBody } from '../harmed-body.ts';
import { runJest } from '../run-jest.ts';
import { compare, nameOf } from '../model.ts';
import { fileOf, revive, type Rig, type Scenario } from '../rig.ts';
import { steadySwarm } from '../stage.ts';

const FILE_SIZE_BYTES = 8 * MiB;
const RETRY_TIMEOUT_MS = 30_000;
/** States of the disk that the model of the file system goes through; CI's own tests do a tenth. */
const CRASH_STATES = 10_000;

export const powerCut: Scenario = {
  id: 'R6',
  promise:
    'power cut or kill -9 of storage during an upload: what was acknowledged is whole, what was not is absent',
  open: steadySwarm,
  scale: { short: 6, long: 100 },
  async run(rig) {
    const { peers } = rig.stage;
    for (let round = 0; round < rig.scale; round += 1) {
      const random = rig.random.fork(round);
      const uploader = random.pick(peers);
      // Its own storage, or one that its blocks are copied to.
      const victim = random.pick(peers);
      const file = fileOf(rig, `r6-${round}`, FILE_SIZE_BYTES);
      const body = harmedBody(file, random.int(1, FILE_SIZE_BYTES), () =>
        rig.inject(`kill -9 storage of ${nameOf(victim)}`, () => void victim.killOne('storage')),
      );
      await tryUpload(rig, uploader, file, body);
      await revive(peers);
    }
    await compare(rig.model, peers, rig.ledger, rig);
    if (!rig.isControl && !rig.isShort) await replayCrashStates(rig);
  },
};

/** An upload that may fail; then the file must not be listed, and a second try must work. */
async function tryUpload(
  { ledger, model }: Rig,
  peer: RunningPeer,
  file: TestFile,
  body: AsyncIterable<Uint8Array>,
): Promise<void> {
  ledger.tried('uploads');
  try {
    const { reply } = await upload(peer.chunker, file, { query: 'copies=3', body });
    await model.acknowledge(file, reply, ledger);
    return;
  } catch {
    ledger.tried('refused'); // what is promised then follows
  }
  if ((await listFiles(peer.discovery)).some(({ name }) => name === file.name))
    ledger.blame('broken', `${file.name} was refused, and is listed`);
  const { reply } = await eventually(
    `a second upload of ${file.name} is taken`,
    () => upload(peer.chunker, file, { query: 'copies=3' }),
    { timeoutMs: RETRY_TIMEOUT_MS },
  );
  await model.acknowledge(file, reply, ledger);
}

async function replayCrashStates({ ledger, signal }: Rig): Promise<void> {
  const ran = await runJest('services/storage/test/integration/power-cut.test.ts', {
    env: { POWER_CUT_STATES: String(CRASH_STATES) },
    signal,
  });
  if (ran === undefined) {
    ledger.figure('crash states', 'not there');
    return;
  }
  ledger.figure('crash states', ran.failed === 0 ? CRASH_STATES : 0);
  if (ran.failed > 0) ledger.blame('broken', `crash states: ${ran.output}`);
}
