/**
 * The state of the swarm's files, as metrics. Each file is watched by one member, the first that is
 * up in the order of its root's placement: so the sum over all members counts each file once, and no member
 * asks about all of them. When a watcher goes, the next in order takes over its files.
 */
import { setImmediate as nextTurn, setTimeout as wait } from 'node:timers/promises';
import { partitionOf } from '@shoal/blocks';
import type { Loops, Turn } from '@shoal/chassis';
import type { Cid, FileEntry, Member, PeerId, Pin } from '@shoal/protocol';
import { FileState, WANT_ROOTS_MAX } from '@shoal/protocol';
import { place } from '@shoal/swarm';
import type { Health } from './health.ts';
import type { Metrics } from '../metrics.ts';
import type { PinReader } from '../pins/pin-reader.ts';

/** Time between two rounds. */
const ROUND_MS = 30_000;
/**
 * Time between two questions of a round. A question makes every member look up a have-map for each root, so
 * with many files a round takes longer instead of taking more of the members' time.
 */
const QUESTION_MS = 5000;
/** Files whose time below target is remembered: those that fell below it first. */
const UNSAFE_MAX = 100_000;

/** The findings of a round. */
export interface Tally {
  readonly files: Readonly<Record<FileState, number>>;
  readonly belowTargetBytes: number;
  readonly belowTargetAgeMs: number;
}

/** Adds up the states of files, a page at a time; `since` remembers when each fell below its target. */
export function createTally(since: Map<Cid, number>, nowMs: number) {
  const files = Object.fromEntries(FileState.options.map((state) => [state, 0])) as Record<
    FileState,
    number
  >; // one key for each state
  const stillBelow = new Set<Cid>();
  let belowTargetBytes = 0;
  return {
    add(entries: readonly FileEntry[]): void {
      for (const { cid, state, copies, replicas, sizeBytes } of entries) {
        files[state] += 1;
        if (state === 'unknown') {
          // It may be below its target or back at it. If it was below, it stays so.
          if (since.has(cid)) stillBelow.add(cid);
          continue;
        }
        if (copies >= replicas) continue;
        belowTargetBytes += sizeBytes;
        if (!since.has(cid) && since.size < UNSAFE_MAX) since.set(cid, nowMs);
        if (since.has(cid)) stillBelow.add(cid);
      }
    },
    /** Forgets the files that came back to their target. */
    finish(): Tally {
      for (const cid of since.keys()) if (!stillBelow.has(cid)) since.delete(cid);
      const [oldestMs = nowMs] = since.values(); // in the order in which they came
      return { files, belowTargetBytes, belowTargetAgeMs: nowMs - oldestMs };
    },
  };
}

/** Answers whether this member is the one that watches a file. */
export function watchedBy(self: PeerId, alive: readonly Member[]): (root: Cid) => boolean {
  const staying = alive.filter(({ draining }) => !draining);
  const candidates = staying.length > 0 ? staying : alive;
  // Files of one partition have one order of members, which takes longer to work out than to look up.
  const known = new Map<number, boolean>();
  return (root) => {
    const partition = partitionOf(root);
    const before = known.get(partition);
    if (before !== undefined) return before;
    const [first] = place(partition, candidates);
    // With no capacity in the swarm nothing is placed; then every member watches.
    const isMine = first === undefined || first.peerId === self;
    known.set(partition, isMine);
    return isMine;
  };
}

export function startSurvey(deps: {
  readonly self: PeerId;
  readonly reader: PinReader;
  readonly health: Pick<Health, 'inspect'>;
  readonly alive: () => readonly Member[];
  readonly metrics: Metrics;
  readonly loops: Loops;
}): Disposable {
  const { self, reader, health, alive, metrics, loops } = deps;
  const since = new Map<Cid, number>();

  const look = async ({ signal, beat }: Turn): Promise<void> => {
    const startedAtMs = Date.now();
    const tally = createTally(since, performance.now());
    let recoverableBytes = 0;
    let isMine = watchedBy(self, alive());
    /** Of several pages, as many as a question names. */
    let mine: Pin[] = [];
    for (let after: string | undefined = ''; after !== undefined;) {
      const page: { pins: Pin[]; next?: string } = reader.page(after, WANT_ROOTS_MAX, {
        orDeleted: true,
      });
      for (const { deleted, sizeBytes } of page.pins) if (deleted) recoverableBytes += sizeBytes;
      mine.push(...page.pins.filter(({ deleted, root }) => !deleted && isMine(root)));
      beat();
      after = page.next;
      if (mine.length < WANT_ROOTS_MAX && after !== undefined) {
        await nextTurn(); // requests come between two pages
        continue;
      }
      if (mine.length > 0) tally.add(await health.inspect(mine, signal));
      mine = [];
      if (after !== undefined) await wait(QUESTION_MS, undefined, { signal });
      isMine = watchedBy(self, alive());
    }
    const { files, belowTargetBytes, belowTargetAgeMs } = tally.finish();
    for (const [state, count] of Object.entries(files)) metrics.files.set({ state }, count);
    metrics.surveyedAt.set(startedAtMs / 1000);
    metrics.recoverableBytes.set(recoverableBytes);
    metrics.belowTarget.set(belowTargetBytes);
    metrics.belowTargetAge.set(belowTargetAgeMs / 1000);
  };
  return loops.start({ name: 'survey', everyMs: () => ROUND_MS, run: look });
}
