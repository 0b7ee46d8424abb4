/**
 * What a scenario works with. The same scenario runs twice: first as the control, where `inject` does
 * nothing, then with its faults. Its choices come from `random`, which is the same in both.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Random, type RunningPeer, type TestFile, untilAllSee, upload } from '@shoal/testkit';
import type { Ledger } from './ledger.ts';
import { checkReadable, type KnownFile, type Model } from './model.ts';
import { isUp, type Opener, type Stage } from './stage.ts';

export interface Scenario<S extends Stage = Stage> {
  readonly id: string;
  readonly promise: string;
  readonly open: Opener<S>;
  /** How much is tried in the short form and in the long one; what it counts is the scenario's own. */
  readonly scale: { readonly short: number; readonly long: number };
  /** Too large for the rota of commits: it plays when it is named. */
  readonly isByHand?: boolean;
  /** Why it can't run here, in words; undefined when it can. */
  whyNot?(): Promise<string | undefined>;
  run(rig: Rig<S>): Promise<void>;
}

export interface Rig<S extends Stage = Stage> {
  readonly stage: S;
  readonly random: Random;
  readonly scale: number;
  readonly isShort: boolean;
  readonly isControl: boolean;
  readonly ledger: Ledger;
  /** What the control run saw; undefined while that is what runs. */
  readonly control: Ledger | undefined;
  readonly model: Model;
  /** Ends when the run takes too long, or the program is told to stop. */
  readonly signal: AbortSignal;
  /** Does a harm to the swarm, or undoes one; does nothing in the control run. */
  inject(what: string, act: () => Promise<unknown> | void): Promise<void>;
}

/** Uploads a file and notes it as acknowledged. @throws Error when it is refused. */
export async function add(
  { ledger, model }: Rig,
  peer: RunningPeer,
  file: TestFile,
  query = 'copies=3',
): Promise<KnownFile> {
  const { reply } = await upload(peer.chunker, file, { query });
  return model.acknowledge(file, reply, ledger);
}

/** A file whose bytes no other run of any scenario uses. */
export function fileOf(rig: Rig, name: string, sizeBytes: number): TestFile {
  const own = rig.random.fork(name).int(0, 2 ** 32);
  return { name, seed: `${name}/${own}/${rig.isControl}`, sizeBytes };
}

/** Reads a file at a peer and notes how long it took. */
export async function read(rig: Rig, file: KnownFile, peer: RunningPeer, series: string) {
  const tookMs = await checkReadable(file, peer, rig.ledger, rig);
  if (tookMs !== undefined) rig.ledger.sample(series, tookMs);
}

/** Starts those of the peers that are down, and waits until everybody sees everybody. */
export async function revive(peers: readonly RunningPeer[]): Promise<void> {
  await Promise.all(peers.filter((peer) => !isUp(peer)).map((peer) => peer.start()));
  await untilAllSee(peers, peers.length);
}

/** Lets time pass, for what is measured in time: how long a peer is away, or that nothing happens. */
export async function pass(ms: number, { signal }: { signal: AbortSignal }): Promise<void> {
  await sleep(ms, undefined, { signal });
}

/** The entry at this index. @throws Error when there are fewer. */
export function at<T>(items: readonly T[], index: number): T {
  const item = items[index];
  if (item === undefined) throw new Error(`nothing at ${index} of ${items.length}`);
  return item;
}
