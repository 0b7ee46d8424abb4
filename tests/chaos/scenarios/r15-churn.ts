import { MiB } from '@shoal/protocol';
import type { RunningPeer } from '@shoal/testkit';
import { formatMs, quantile } from '../ledger.ts';
import { startLoad } from '../load.ts';
import { compare, type KnownFile, nameOf } from '../model.ts';
import { add, fileOf, pass, revive, type Rig, type Scenario } from '../rig.ts';
import { quickSwarm } from '../stage.ts';

const FILES = 4;
const FILE_SIZE_BYTES = 4 * MiB;
const RIGHT_SHARE_MIN = 0.999;
const PERIOD_MS = { short: 5000, long: 10_000 };

export const churn: Scenario = {
  id: 'R15',
  promise:
    'a peer leaves or comes back all the time, under load: at least 99.9 % of downloads right the first time, nothing corrupt or lost',
  open: quickSwarm,
  // Times that a peer leaves and comes back: ten minutes in the long form.
  scale: { short: 3, long: 50 },
  async run(rig) {
    const { peers } = rig.stage;
    const form = rig.isShort ? 'short' : 'long';
    const files: KnownFile[] = [];
    for (let index = 0; index < FILES; index += 1)
      files.push(
        await add(rig, rig.random.pick(peers), fileOf(rig, `r15-${index}`, FILE_SIZE_BYTES)),
      );
    let away: RunningPeer | undefined;
    const failures: string[] = [];
    const load = startLoad(rig, {
      files,
      peers: () => peers.filter((peer) => peer !== away),
      onFailure(kind, what) {
        rig.ledger.tried(`${kind}s failed`);
        if (kind === 'download') failures.push(what);
      },
    });
    for (let tick = 0; tick < (rig.isControl ? 1 : rig.scale); tick += 1) {
      const random = rig.random.fork(tick);
      const leaver = random.pick(peers);
      const isKilled = random.share() < 0.5;
      await rig.inject(`${nameOf(leaver)} ${isKilled ? 'is killed' : 'leaves'}`, async () => {
        rig.ledger.tried('leaves');
        away = leaver;
        await (isKilled ? leaver.kill() : leaver.stop());
      });
      await pass(PERIOD_MS[form], rig);
      await revive(peers);
      away = undefined;
    }
    await pass(PERIOD_MS[form], rig);
    await load.stop();
    judge(rig, failures);
    rig.ledger.figure('p95', formatMs(quantile(rig.ledger.samples('download'), 0.95)));
    await compare(rig.model, peers, rig.ledger, rig);
  },
};

/** The short form has too few downloads to tell 99.9 % from less: it only reports. */
function judge({ ledger, isShort }: Rig, failures: readonly string[]): void {
  const share = 1 - failures.length / (ledger.trials.get('downloads') ?? 1);
  ledger.figure('right first time', `${(100 * share).toFixed(2)} %`);
  if (!isShort && share < RIGHT_SHARE_MIN)
    for (const what of failures) ledger.blame('failed', what);
}
