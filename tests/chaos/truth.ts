/**
 * Whether the swarm tells the truth: each number of copies that a peer says, in lists and in health, against
 * what the disks held at its date, in both directions.
 *
 * The disks are looked at all the time. A number is dated to the oldest answer that it rests on, so a copy
 * that was there all the time since must be in it, and one that never was must not. "Unknown" names who did
 * not answer: its number may be too small, but no number may ever be too large.
 */
import type { FileEntry } from '@shoal/protocol';
import { health, listFiles, type RunningPeer } from '@shoal/testkit';
import { chunkDigestsOf, copiesBetween, type DiskImage, imageDisks } from './disks.ts';
import { type KnownFile, nameOf } from './model.ts';
import { pass, type Rig } from './rig.ts';
import { isUp } from './stage.ts';

const SAMPLE_EVERY_MS = 1000;
const IMAGE_EVERY_MS = 250;
/** A block's file is written before its record is, and deleted after it. */
const SLACK_MS = 2000;
/** Images kept: past what any answer may be dated back to. */
const IMAGES_MAX = 1200;
/** Files whose health is asked for in a round; the list has them all. */
const HEALTH_PER_ROUND = 5;

interface Sample {
  readonly file: KnownFile;
  readonly digests: readonly string[];
  readonly said: FileEntry;
  readonly by: string;
  readonly atMs: number;
}

/** Watches these files at every peer that is up, until stopped. */
export function watchTruth(rig: Rig, files: readonly KnownFile[]): { stop(): Promise<void> } {
  const { stage, ledger } = rig;
  const stopping = new AbortController();
  const signal = AbortSignal.any([rig.signal, stopping.signal]);
  const images: { atMs: number; image: DiskImage }[] = [];
  const samples: Sample[] = [];

  const look = async (): Promise<void> => {
    while (!signal.aborted) {
      await takeImage();
      await pass(IMAGE_EVERY_MS, { signal }).catch(() => undefined); // stopped: the loop's end
    }
    await takeImage();
  };
  const takeImage = async (): Promise<void> => {
    images.push({ atMs: Date.now(), image: await imageDisks(stage.peers) });
    if (images.length > IMAGES_MAX) images.shift();
  };
  const ask = async (digests: ReadonlyMap<string, readonly string[]>): Promise<void> => {
    for (let round = 0; !signal.aborted; round += 1) {
      await Promise.all(stage.peers.filter(isUp).map((peer) => askPeer(peer, round, digests)));
      judge();
      await pass(SAMPLE_EVERY_MS, { signal }).catch(() => undefined); // stopped: the loop's end
    }
  };
  const askPeer = async (
    peer: RunningPeer,
    round: number,
    digests: ReadonlyMap<string, readonly string[]>,
  ): Promise<void> => {
    const some = Array.from({ length: Math.min(HEALTH_PER_ROUND, files.length) }, (_, index) =>
      files.at((round * HEALTH_PER_ROUND + index) % files.length),
    ).filter((file) => file !== undefined);
    try {
      const list = await listFiles(peer.discovery);
      note('list', list, peer, digests);
      for (const { cid } of some)
        note('health', [await health(peer.discovery, cid)], peer, digests);
    } catch {
      ledger.tried('peers that went while they were asked');
    }
  };
  const note = (
    kind: string,
    said: readonly FileEntry[],
    peer: RunningPeer,
    digests: ReadonlyMap<string, readonly string[]>,
  ): void => {
    const atMs = Date.now();
    for (const entry of said) {
      const file = files.find(({ cid }) => cid === entry.cid);
      const known = digests.get(entry.cid);
      if (file === undefined || known === undefined) continue;
      samples.push({ file, digests: known, said: entry, by: `${kind} of ${nameOf(peer)}`, atMs });
    }
  };
  /** Judges what was said long enough ago that the disks were looked at since. */
  const judge = (isLast = false): void => {
    const dueMs = Date.now() - SLACK_MS;
    while (samples[0] !== undefined && (isLast || samples[0].atMs < dueMs)) {
      const sample = samples.shift();
      if (sample !== undefined) judgeOne(rig, sample, images);
    }
  };
  const watching = (async () => {
    const digests = new Map<string, readonly string[]>();
    for (const file of files) digests.set(file.cid, await chunkDigestsOf(file));
    await Promise.all([look(), ask(digests)]);
    judge(true);
  })();
  watching.catch(() => undefined); // it is told by stop()
  return {
    async stop() {
      stopping.abort();
      await watching;
    },
  };
}

function judgeOne(
  { ledger }: Rig,
  { file, digests, said, by, atMs }: Sample,
  images: readonly { atMs: number; image: DiskImage }[],
): void {
  const { state, copies, verifiedAtMs = atMs } = said;
  const window = images
    .filter((each) => each.atMs >= verifiedAtMs - SLACK_MS && each.atMs <= atMs + SLACK_MS)
    .map(({ image }) => image);
  if (window.length < 2) return ledger.tried('samples between two looks');
  ledger.tried('truth samples');
  ledger.tried(`said ${state}`);
  // A peer that has just come back is named as away until it is seen: its copies are accounted for.
  const named = new Set(said.causes.flatMap((cause) => ('peers' in cause ? cause.peers : [])));
  const { least, most } = copiesBetween(digests, window, named);
  const what = `${by}: ${file.name} is ${state} ${copies}/${file.replicas}`;
  const truth = `${least} to ${most} on the disks since ${atMs - verifiedAtMs} ms before`;
  if (copies > most) ledger.blame('broken', `${what}, ${truth}`);
  if (state === 'missing' && least > 0) ledger.blame('broken', `${what}, ${truth}`);
  if (copies >= Math.min(least, file.replicas)) return;
  if (state === 'unknown') ledger.tried('below the disks, and said to be unknown');
  else ledger.blame('broken', `${what} (${JSON.stringify(said.causes)}), ${truth}`);
}
