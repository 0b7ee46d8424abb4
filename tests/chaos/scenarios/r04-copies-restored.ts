import { MiB } from '@shoal/protocol';
import { addFiles, destroy, pairsOf, refill, untilAllSafe } from '../destruction.ts';
import { chunkDigestsOf, fewestCopies, imageDisks } from '../disks.ts';
import { formatMs, quantile } from '../ledger.ts';
import { compare } from '../model.ts';
import { at, type Rig, type Scenario } from '../rig.ts';
import { quickSwarm } from '../stage.ts';
import { watchTruth } from '../truth.ts';

const LARGE_FILES = { short: 4, long: 16 };
/** The long form holds 256 MiB. */
const LARGE_SIZE_BYTES = { short: 8 * MiB, long: 16 * MiB };
const SAFE_WITHIN_MS = 60_000;

export const copiesRestored: Scenario = {
  id: 'R4',
  promise:
    'after 2 of 5 are destroyed all files get their 3 copies back within 60 s, and lists, health and metrics say what the disks had',
  open: quickSwarm,
  scale: { short: 1, long: 10 },
  async run(rig) {
    const form = rig.isShort ? 'short' : 'long';
    await addFiles(rig, LARGE_FILES[form], LARGE_SIZE_BYTES[form]);
    for (const pair of pairsOf(rig, rig.isControl ? 1 : rig.scale)) {
      rig.ledger.tried('pairs');
      const witness = at(
        rig.stage.peers.filter((peer) => !pair.includes(peer)),
        0,
      );
      const watch = watchTruth(rig);
      const left = await destroy(rig, pair);
      rig.ledger.sample('safe', await untilAllSafe(rig, witness, SAFE_WITHIN_MS));
      await checkDisks(rig);
      await compare(rig.model, left, rig.ledger, rig);
      await refill(rig, SAFE_WITHIN_MS);
      await watch.stop();
    }
    rig.ledger.figure('safe again within', formatMs(quantile(rig.ledger.samples('safe'), 1)));
  },
};

/** That every file has its copies on the disks of living peers, whatever health says. */
async function checkDisks({ ledger, model, stage }: Rig): Promise<void> {
  const files = model.live().filter(({ sizeBytes }) => sizeBytes >= MiB);
  const disks = await imageDisks(stage.peers);
  for (const file of files) {
    const copies = fewestCopies(await chunkDigestsOf(file), disks);
    if (copies < file.replicas)
      ledger.blame('broken', `${file.name} is safe, with ${copies} copies on the disks`);
  }
}
