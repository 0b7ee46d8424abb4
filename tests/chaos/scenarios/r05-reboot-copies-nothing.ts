import { MiB } from '@shoal/protocol';
import { metric, type RunningPeer } from '@shoal/testkit';
import { addFiles, untilAllSafe } from '../destruction.ts';
import { compare, nameOf } from '../model.ts';
import { at, pass, revive, type Scenario } from '../rig.ts';
import { steadySwarm } from '../stage.ts';

const LARGE_FILES = { short: 3, long: 16 };
const LARGE_SIZE_BYTES = 8 * MiB;
const DOWN_MS = { short: 10_000, long: 60_000 };
/** A change of members is settled three seconds later: what it sets off shows in this time. */
const WATCHED_AFTERWARDS_MS = { short: 4500, long: 20_000 };
const SPREAD_TIMEOUT_MS = 30_000;

export const rebootCopiesNothing: Scenario = {
  id: 'R5',
  promise: 'restart each peer in turn within the grace for absent peers: no block is copied',
  open: steadySwarm,
  scale: { short: 1, long: 5 },
  async run(rig) {
    const { peers } = rig.stage;
    const form = rig.isShort ? 'short' : 'long';
    await addFiles(rig, LARGE_FILES[form], LARGE_SIZE_BYTES);
    await untilAllSafe(rig, at(peers, 0), SPREAD_TIMEOUT_MS);
    for (const peer of rig.random.sample(peers, rig.isControl ? 1 : rig.scale)) {
      rig.ledger.tried('reboots');
      const before = await Promise.all(peers.map(blocksCopiedBy));
      await rig.inject(`stop ${nameOf(peer)} for ${DOWN_MS[form]} ms`, async () => {
        await peer.stop();
        before[peers.indexOf(peer)] = 0; // it counts from 0 again
        await pass(DOWN_MS[form], rig);
      });
      await revive(peers);
      await pass(WATCHED_AFTERWARDS_MS[form], rig);
      const after = await Promise.all(peers.map(blocksCopiedBy));
      const copied = after.reduce((sum, blocks, index) => sum + blocks - at(before, index), 0);
      if (copied > 0)
        rig.ledger.blame('broken', `${copied} blocks copied for the reboot of ${nameOf(peer)}`);
    }
    await compare(rig.model, peers, rig.ledger, rig);
  },
};

/** Blocks that a peer has copied from others since it was started. */
function blocksCopiedBy({ transfer }: RunningPeer): Promise<number> {
  return metric(transfer, 'shoal_transfer_blocks_replicated_total', {
    direction: 'in',
    outcome: 'copied',
  });
}
