import { KiB } from '@shoal/protocol';
import { type RunningPeer, signalProcess } from '@shoal/testkit';
import { startLoad } from '../load.ts';
import { compare, nameOf } from '../model.ts';
import { add, fileOf, pass, revive, type Rig, type Scenario } from '../rig.ts';
import { quickSwarm } from '../stage.ts';
import { watchTruth } from '../truth.ts';

/** Few files, of which each is asked about all the time; and more than one question holds. */
const FILES = [5, 100];
/** Large enough to have a file of its own on a disk. */
const FILE_SIZE_BYTES = 200 * KiB;
/** Longer than the grace of an absent peer, and shorter: then nothing of its is copied. */
const AWAY_MS = [9000, 2500];
/** Shorter than what makes a peer that says nothing count as down, and longer: the short form has no time for that. */
const STOPPED_MS = [4000, 17_000];
const CALM_MS = 4000;
const UPLOADS_AT_ONCE = 8;
/** Of the long form's time few files take this share. */
const FEW_FILES_SHARE = 0.1;

const HARMS = ['is killed', 'is told to end', 'is stopped by a signal'] as const;

export const truth: Scenario = {
  id: 'R21',
  promise:
    'peers are killed, end and stand still, and come back, under load: no list, no health and no metric says more or fewer copies than the disks had at its date, but for silent peers that it names',
  open: quickSwarm,
  // Seconds with 100 files, at least: the last peer that went comes back first.
  scale: { short: 5, long: 1800 },
  async run(rig) {
    for (const count of FILES) await watchOver(rig, count);
    await compare(rig.model, [rig.random.pick(rig.stage.peers)], rig.ledger, rig);
  },
};

async function watchOver(rig: Rig, count: number): Promise<void> {
  const { stage, ledger, model, random } = rig;
  const { peers } = stage;
  const names = Array.from(
    { length: count - model.live().length },
    (_, index) => `r21-${count}-${index}`,
  ).values();
  const uploadSome = async (): Promise<void> => {
    for (const name of names)
      await add(rig, random.fork(name).pick(peers), fileOf(rig, name, FILE_SIZE_BYTES));
  };
  await Promise.all(Array.from({ length: UPLOADS_AT_ONCE }, uploadSome));
  const files = model.live().slice(0, 5);
  let away: RunningPeer | undefined;
  const load = startLoad(rig, {
    files,
    peers: () => peers.filter((peer) => peer !== away),
    uploadSizeBytes: FILE_SIZE_BYTES,
    onFailure: (kind) => ledger.tried(`${kind}s failed`),
  });
  const watch = watchTruth(rig);
  const forMs = rig.scale * 1000 * (count < 100 && !rig.isShort ? FEW_FILES_SHARE : 1);
  const startMs = performance.now();
  for (let turn = 0; turn === 0 || performance.now() - startMs < forMs; turn += 1) {
    await pass(CALM_MS, rig);
    if (rig.isControl) break;
    const choice = random.fork(`${count}-${turn}`);
    const peer = choice.pick(peers);
    // The short form has a turn for each number of files: which harm is up to the seed.
    await harm(rig, peer, choice.pick(HARMS), {
      turn: turn + (count < 100 ? 1 : 0),
      onAway: (isAway) => (away = isAway ? peer : undefined),
    });
  }
  await pass(CALM_MS, rig);
  await load.stop();
  await watch.stop();
}

/** Takes a peer away for a while, and back. */
async function harm(
  rig: Rig,
  peer: RunningPeer,
  how: (typeof HARMS)[number],
  { turn, onAway }: { readonly turn: number; readonly onAway: (isAway: boolean) => void },
): Promise<void> {
  const forMs = (times: readonly number[]): number => times[turn % times.length] ?? CALM_MS;
  const stoppedMs = forMs(rig.isShort ? STOPPED_MS.slice(0, 1) : STOPPED_MS);
  onAway(true);
  if (how === 'is stopped by a signal') {
    const { launcherId } = peer; // of all of its services
    await rig.inject(`${nameOf(peer)} ${how} for ${stoppedMs} ms`, () =>
      signalProcess(launcherId, 'SIGSTOP'),
    );
    try {
      await pass(stoppedMs, rig);
    } finally {
      signalProcess(launcherId, 'SIGCONT');
    }
  } else {
    await rig.inject(`${nameOf(peer)} ${how} for ${forMs(AWAY_MS)} ms`, async () => {
      if (how === 'is killed') return peer.kill();
      // On a busy machine it is killed in the end: how long an end takes is not what is asked here.
      await peer.stop().catch(() => rig.ledger.tried('ends that took too long'));
    });
    await pass(forMs(AWAY_MS), rig);
  }
  await revive(rig.stage.peers);
  onAway(false);
}
