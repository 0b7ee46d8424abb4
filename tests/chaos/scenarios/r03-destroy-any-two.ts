import { MiB } from '@shoal/protocol';
import { addFiles, destroy, pairsOf, refill } from '../destruction.ts';
import { compare } from '../model.ts';
import type { Scenario } from '../rig.ts';
import { quickSwarm } from '../stage.ts';

const LARGE_FILES = { short: 2, long: 20 };
const LARGE_SIZE_BYTES = 4 * MiB;
const REFILL_TIMEOUT_MS = 60_000;

export const destroyAnyTwo: Scenario = {
  id: 'R3',
  promise: 'destroy any 2 of 5, disks and all: no acknowledged file is lost',
  open: quickSwarm,
  scale: { short: 2, long: 30 },
  async run(rig) {
    await addFiles(rig, rig.isShort ? LARGE_FILES.short : LARGE_FILES.long, LARGE_SIZE_BYTES);
    for (const pair of pairsOf(rig, rig.isControl ? 1 : rig.scale)) {
      rig.ledger.tried('pairs');
      const left = await destroy(rig, pair);
      await compare(rig.model, left, rig.ledger, rig);
      await refill(rig, REFILL_TIMEOUT_MS);
    }
  },
};
