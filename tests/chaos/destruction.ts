/**
 * R3 and R4 look at the same event from two sides: two peers are destroyed, disks and all. R3 asks
 * whether anything is lost; R4 how soon all copies are there again, and whether health told the
 * truth on the way.
 */
import { KiB, MiB } from '@shoal/protocol';
import { eventually, health, type RunningPeer } from '@shoal/testkit';
import { nameOf } from './model.ts';
import { add, at, fileOf, revive, type Rig } from './rig.ts';
import { isUp } from './stage.ts';

/** Odd sizes, below, at and above a chunk; the ends of those above have a file of their own too. */
const SMALL_SIZES_BYTES = [0, 1, 100 * KiB, MiB, MiB + 100 * KiB];

/** Uploads small files and as many large ones, at random peers, each confirmed three times. */
export async function addFiles(rig: Rig, largeCount: number, largeSizeBytes: number) {
  const sizes = [...SMALL_SIZES_BYTES, ...Array<number>(largeCount).fill(largeSizeBytes)];
  const random = rig.random.fork('files');
  for (const [index, sizeBytes] of sizes.entries()) {
    const name = `${index}-${sizeBytes}.bin`;
    await add(rig, random.pick(rig.stage.peers), fileOf(rig, name, sizeBytes));
  }
}

/** All pairs, in a random order, as many as asked; from the start again when there are fewer. */
export function pairsOf(rig: Rig, count: number): [RunningPeer, RunningPeer][] {
  const { peers } = rig.stage;
  const pairs = peers.flatMap((peer, index) =>
    peers.slice(index + 1).map((other): [RunningPeer, RunningPeer] => [peer, other]),
  );
  const shuffled = rig.random.fork('pairs').sample(pairs, pairs.length);
  return Array.from({ length: count }, (_, index) => at(shuffled, index % shuffled.length));
}

/** Kills two peers with -9 and empties their disks. Answers who is left. */
export async function destroy(rig: Rig, pair: readonly RunningPeer[]): Promise<RunningPeer[]> {
  await rig.inject(`destroy ${pair.map(nameOf).join(' and ')}`, async () => {
    await Promise.all(pair.map((peer) => peer.kill()));
    await Promise.all(pair.map((peer) => peer.wipe()));
  });
  return rig.stage.peers.filter((peer) => !pair.includes(peer));
}

/** Waits until health says of every file that its copies are there. Answers how long it took. */
export async function untilAllSafe(rig: Rig, peer: RunningPeer, timeoutMs: number) {
  const startedAtMs = performance.now();
  let unsafe = '';
  await eventually(
    () => `all files are safe: ${unsafe}`,
    async () => {
      rig.signal.throwIfAborted();
      for (const { cid, name } of rig.model.live()) {
        const { state, copies } = await health(peer.discovery, cid);
        unsafe = `${name} is ${state} with ${copies}`;
        if (state !== 'safe') return false;
      }
      return true;
    },
    { timeoutMs },
  );
  return performance.now() - startedAtMs;
}

/** The destroyed peers join anew, empty, and everything is spread again over all. */
export async function refill(rig: Rig, timeoutMs: number): Promise<void> {
  await revive(rig.stage.peers);
  const peer = rig.stage.peers.find(isUp);
  if (peer !== undefined) await untilAllSafe(rig, peer, timeoutMs);
}
