/**
 * Room for what would be refused. Deleted files are kept for a while so that they can be brought back, but
 * never at the cost of what comes in: those that would be purged first anyway are purged now, and two
 * rounds of the sweep free what nothing else reaches.
 *
 * A file is purged for the whole swarm, so it must be certain that this helps: what live files reach, what
 * is too young to be swept is counted apart from garbage. A block that several deleted files
 * share is freed with the last of them, so it counts for the one that is purged last. When all of them
 * together would not make room enough, none is purged.
 *
 * Garbage is swept first. So room that another peer had made, by a purge for the whole
 * swarm, is made here as well when it is needed.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Log, Loops, PeerClient } from '@shoal/chassis';
import {
  type Cid,
  discoveryRoutes,
  ManifestIncomplete,
  ManifestInvalid,
  type SweepReport,
} from '@shoal/protocol';
import type { BlockRecord, Digest } from '../disk/block-record.ts';
import type { RoomWish } from '../disk/room.ts';
import type { Blockstore } from '../store/blockstore.ts';
import type { DagListings } from '../dags/dag-listing.ts';
import { createDigestMarks, type DigestMarks } from '../index/digest-marks.ts';
import type { LivePins } from './live-pins.ts';
import { reachFromPins } from './reach.ts';
import { eachSlice } from '../index/slices.ts';

/** Room made in one go, as a share of the capacity: looking at every block for each put would be too much. */
const AHEAD_SHARE = 0.01;
/** After a look that found too little, the next one waits this many times as long as it took. */
const REST_FACTOR = 10;
/** Blocks looked at between two turns of the event loop, a few milliseconds. */
const BLOCKS_PER_TURN = 4096;

/** Answers whether there is room for that many bytes now; waits for the purge and the sweep that make it. */
export type MakeRoom = (wish: RoomWish) => Promise<boolean>;

export interface MakeRoomDeps {
  readonly store: Pick<Blockstore, 'counts' | 'find' | 'isForGood' | 'lacking' | 'scan' | 'stats'>;
  /** Pins of live files alone. */
  readonly livePins: LivePins;
  readonly listings: DagListings;
  readonly purges: Purges;
  readonly sweep: () => Promise<SweepReport>;
  readonly graceMs: number;
  readonly nowMs: () => number;
  readonly uptimeMs: () => number;
  readonly loops: Loops;
  readonly log: Log;
}

/** Deleted files that can be brought back, as discovery knows them. */
export interface Purges {
  /** The one that is purged next first. */
  list(options: { signal: AbortSignal }): Promise<readonly Cid[]>;
  purge(roots: readonly Cid[], options: { signal: AbortSignal }): Promise<void>;
}

export function createMakeRoom(deps: MakeRoomDeps, { signal }: { signal: AbortSignal }): MakeRoom {
  const { store, purges, sweep, uptimeMs, loops, log } = deps;
  const turns = loops.track('make-room', () => undefined);
  let running: Promise<void> | undefined;
  /** Bytes that a purge of all would have freed, at the last look that found too little. */
  let futile = { untilMs: -Infinity, freeableBytes: 0 };

  const make = async (wish: RoomWish): Promise<void> => {
    const isResting = uptimeMs() < futile.untilMs;
    if (isResting && (await store.lacking(wish)) > futile.freeableBytes) return;
    const roots = await purges.list({ signal });
    const startMs = uptimeMs();
    const rest = (freeableBytes: number): void => {
      const untilMs = uptimeMs() + REST_FACTOR * (uptimeMs() - startMs);
      futile = { untilMs, freeableBytes };
    };
    const plan = await planPurge(roots, deps, { signal });
    if (plan === undefined) return rest(0);
    const { capacityBytes } = await store.stats();
    const lackingBytes = await store.lacking(wish);
    if (lackingBytes <= 0) return;
    const chosen = chooseFiles(plan, {
      lackingBytes,
      wantedBytes: Math.max(lackingBytes, Math.floor(capacityBytes * AHEAD_SHARE)),
    });
    if (chosen === undefined) return rest(freeableOf(plan));
    if (chosen.length > 0) {
      await purges.purge(chosen, { signal });
      log.warn({ files: chosen.length, lackingBytes }, 'deleted files purged to make room');
    }
    for (let round = 0; round < 2; round += 1) await sweep(); // condemn, then delete
  };
  return async (wish) => {
    while (running !== undefined) await running; // room made for another put may be enough for this one
    if ((await store.lacking(wish)) <= 0) return true;
    running ??= turns
      .run(() => make(wish))
      .catch((err: unknown) => {
        if (!signal.aborted) log.warn({ err }, 'no room made');
      })
      .finally(() => {
        running = undefined;
      });
    await running;
    return (await store.lacking(wish)) <= 0;
  };
}

/** Bytes that a purge would free here. */
export interface PurgePlan {
  /** Nothing reaches these bytes any more: two rounds of the sweep free them, with or without a purge. */
  readonly garbageBytes: number;
  /** In the order in which they are purged; those without a block here that only they reach are left out. */
  readonly files: readonly { readonly root: Cid; readonly freedBytes: number }[];
}

/** The fewest files whose purge makes the room wanted, or all; undefined when even all are too little. */
export function chooseFiles(
  { garbageBytes, files }: PurgePlan,
  { lackingBytes, wantedBytes }: { readonly lackingBytes: number; readonly wantedBytes: number },
): Cid[] | undefined {
  if (freeableOf({ garbageBytes, files }) < lackingBytes) return undefined;
  const chosen: Cid[] = [];
  let freed = garbageBytes;
  for (const { root, freedBytes } of files) {
    if (freed >= wantedBytes) break;
    chosen.push(root);
    freed += freedBytes;
  }
  return chosen;
}

const freeableOf = ({ garbageBytes, files }: PurgePlan): number =>
  files.reduce((sum, { freedBytes }) => sum + freedBytes, garbageBytes);

/** Looks at every block; undefined when it is unknown what live files reach. */
async function planPurge(
  roots: readonly Cid[],
  deps: MakeRoomDeps,
  { signal }: { signal: AbortSignal },
): Promise<PurgePlan | undefined> {
  const { store, listings, graceMs, nowMs, log } = deps;
  const { blocks, damaged } = store.counts;
  const live = createDigestMarks(blocks + damaged);
  const deleted = createDigestMarks(blocks + damaged);
  await eachSlice(store, { signal }, (rows) => {
    for (const [digest, { replicas }] of rows) {
      live.add(digest, replicas);
      deleted.add(digest, replicas);
    }
  });
  const { heldUpBy } = await reachFromPins({ ...deps, marks: live }, { signal });
  if (heldUpBy !== undefined) {
    log.warn({ heldUpBy }, 'no deleted file purged');
    return undefined;
  }
  const isSweepable = (digest: Digest, { condemnedAtMs, writtenAtMs }: BlockRecord): boolean =>
    condemnedAtMs > 0 || (nowMs() - writtenAtMs >= graceMs && store.isForGood(digest));
  const isReached = (marks: DigestMarks, digest: Digest): boolean =>
    (marks.of(digest)?.replicas ?? 0) > 0;

  const files: { root: Cid; freedBytes: number }[] = [];
  for (const root of roots.toReversed()) {
    let freedBytes = 0;
    let isHere = false;
    for await (const digest of digestsOf(root, listings)) {
      signal.throwIfAborted();
      const record = store.find(digest);
      if (record === undefined || isReached(live, digest) || !isSweepable(digest, record)) continue;
      isHere = true;
      if (isReached(deleted, digest)) continue;
      deleted.mark(digest, { replicas: 1, isNode: false });
      freedBytes += record.sizeBytes;
    }
    if (isHere) files.unshift({ root, freedBytes });
  }
  let garbageBytes = 0;
  await eachSlice(store, { signal }, (rows) => {
    for (const [digest, record] of rows)
      if (!isReached(live, digest) && !isReached(deleted, digest) && isSweepable(digest, record))
        garbageBytes += record.isDamaged ? 0 : record.sizeBytes;
  });
  return { garbageBytes, files };
}

/** The blocks of a DAG; none when it can't be listed here, for then it is unknown what its purge would free. */
async function* digestsOf(root: Cid, listings: DagListings) {
  let listing: Awaited<ReturnType<DagListings['list']>>;
  try {
    listing = await listings.list(root);
  } catch (error) {
    if (error instanceof ManifestIncomplete || error instanceof ManifestInvalid) return;
    throw error;
  }
  for (let at = 0; at < listing.blocks; at += 1) {
    yield listing.digestAt(at);
    if (at % BLOCKS_PER_TURN === BLOCKS_PER_TURN - 1) await nextTurn();
  }
}

/** @throws ServiceUnavailable, ClockWrong */
export const createPurges = (client: PeerClient): Purges => ({
  async list({ signal }) {
    const target = client.own('discovery');
    const { roots } = await client.call(target, discoveryRoutes.listPurgeable, {}, { signal });
    return roots;
  },
  async purge(roots, { signal }) {
    const args = { body: { roots: [...roots] } };
    await client.call(client.own('discovery'), discoveryRoutes.purgeForRoom, args, { signal });
  },
});
