/**
 * Anti-entropy of pins. Two peers compare one digest of all they know; when it differs, one a bucket;
 * for buckets that differ, stamps a page at a time; then each gives the other what it lacks. In the
 * usual case that is one message of a hundred bytes.
 *
 * Who deletes what no pin reaches must know all pins. So it is noted with whom a comparison ended well
 * since the connection to them opened: a peer that was away, or lost its state, knows that it does not
 * know yet. The peer that asked has then taken all that the other had; the one that was asked can tell
 * by the digests being equal, hence a comparison that found differences is repeated once.
 */
import type { Log, Loops } from '@shoal/chassis';
import type { Cid, Member, PeerId } from '@shoal/protocol';
import { compareStamps, pinBucket, type PinStamp } from '@shoal/swarm';
import { FULL_MESH_MAX } from '../members/join.ts';
import { PINS_PER_MESSAGE_MAX, STAMPS_PER_MESSAGE_MAX } from '../network/messages.ts';
import type { PinStore } from './pin-store.ts';
import type { Merged, Pins } from './pins.ts';
import type { Wire } from '../network/wire.ts';

/** Time between two rounds with a peer picked at random. */
const ROUND_MS = 20_000;
/** Time between two looks for connected peers with whom no comparison ended well. */
const RETRY_MS = 3000;
/** Longest comparison with one peer: a slow one must not keep the others waiting for ever. */
const SYNC_TIMEOUT_MS = 5 * 60_000;
/** Passes of one comparison: the second finds both equal, unless pins came in meanwhile. */
const PASSES = 2;
/** Wait after a connection opens, so that both sides have their handlers. */
const GREETING_DELAY_MS = 20;

export interface PinSync extends Disposable {
  /** Whether the pins of all members that are up are known here. */
  isCurrent(): boolean;
  /** A pin could not be kept: compares with everybody again, soon. */
  startOver(): void;
}

export function startPinSync(deps: {
  readonly self: PeerId;
  readonly store: PinStore;
  readonly pins: Pins;
  readonly wire: Wire;
  /** All members but ourselves. */
  readonly others: () => readonly Pick<Member, 'peerId' | 'state' | 'leaving' | 'draining'>[];
  /** False while this peer's clock is wrong: it then refuses pins that are right. */
  readonly isClockUsable: () => boolean;
  /** Whether a stamp is not dated so far ahead that nothing is to win over it. */
  readonly isCredible: (stamp: PinStamp) => boolean;
  /** Whether there may be members of whom we have not heard. */
  readonly mayBeMore: () => boolean;
  readonly loops: Loops;
  readonly log: Log;
}): PinSync {
  const { self, store, pins, wire, others, isClockUsable, isCredible, mayBeMore, loops, log } =
    deps;
  const waiting = new Set<PeerId>();
  const compared = new Set<PeerId>();
  let startOvers = 0;
  let isSyncing = false;
  let isOver = false;

  wire.handle('pin-digest', (from, { total }) => {
    if (total !== pins.digest.total()) return { buckets: pins.digest.buckets() };
    compared.add(from);
    return {};
  });
  wire.handle('pin-stamps', (_, { bucket, after }) => pageOf(store, bucket, after));

  const syncBucket = async (peerId: PeerId, bucket: number, untilMs: number): Promise<void> => {
    const unsure = new Set<Merged>();
    let after = '';
    for (let isLast = false; !isLast && !isOver;) {
      // What was taken stays taken: the next round goes on from there.
      if (performance.now() > untilMs)
        throw new Error('it took too long; the rest comes next time');
      const page = await wire.request(peerId, { kind: 'pin-stamps', bucket, after });
      if (!isPage(page.stamps, bucket, after)) throw new Error('its stamps are not in their order');
      isLast = page.isLast || page.stamps.length === 0;
      const end = isLast ? undefined : page.stamps.at(-1)?.root;
      const ours = stampsUpTo(store, bucket, after, end);
      const { take, give } = compareBuckets(page.stamps, ours, isCredible);
      for (const roots of batches(take)) {
        const { pins: taken } = await wire.request(peerId, { kind: 'pins-get', roots });
        for (const signed of taken) unsure.add(await pins.merge(signed, peerId));
        // Who calls itself current deletes what no pin reaches, so no pin that may be sound is passed
        // over. One that is out of bounds is no pin: it keeps nothing, and nobody from being current.
        if (unsure.has('foreign'))
          throw new Error('it has a pin that can not be read here: is it a newer Shoal?');
        if (unsure.has('early'))
          throw new Error('it has a pin dated too far ahead, if the clock of this peer is right');
      }
      for (const roots of batches(give)) {
        const given = roots
          .map((root) => store.get(root)?.signed)
          .filter((signed) => signed !== undefined);
        await wire.request(peerId, { kind: 'pins-put', pins: given }).catch((err: unknown) => {
          // It may have no room. What we need to know is what it has, and that we took.
          log.debug({ err, with: peerId }, 'pins not taken');
        });
      }
      after = end ?? after;
    }
  };
  const syncWith = async (peerId: PeerId): Promise<void> => {
    const beganAt = startOvers;
    const untilMs = performance.now() + SYNC_TIMEOUT_MS;
    for (let pass = 0; pass < PASSES && !isOver; pass += 1) {
      const digest = { kind: 'pin-digest', total: pins.digest.total() } as const;
      const { buckets: theirs } = await wire.request(peerId, digest);
      if (theirs === undefined) break;
      const ours = pins.digest.buckets();
      for (const [bucket, digestHere] of ours.entries())
        if (digestHere !== theirs[bucket] && !isOver) await syncBucket(peerId, bucket, untilMs);
      log.debug({ with: peerId }, 'pins compared');
    }
    if (!isOver && wire.isConnected(peerId) && beganAt === startOvers) compared.add(peerId);
  };
  const work = async (beat: () => void = () => {}): Promise<void> => {
    if (isSyncing) return;
    isSyncing = true;
    try {
      for (const peerId of waiting) {
        waiting.delete(peerId);
        beat(); // a comparison may take minutes
        if (isOver || !wire.isConnected(peerId)) continue;
        await syncWith(peerId).catch((err: unknown) =>
          log.warn({ err, with: peerId }, 'pins not compared'),
        );
      }
    } finally {
      isSyncing = false;
    }
  };
  const onFailure = (err: unknown) => log.warn({ err }, 'comparing pins broke');
  wire.on('connected', (peerId) => {
    // One side is enough, as both end with everything.
    if (self > peerId) return;
    waiting.add(peerId);
    setTimeout(() => void work().catch(onFailure), GREETING_DELAY_MS).unref();
  });
  wire.on('disconnected', (peerId) => compared.delete(peerId));
  const stack = new DisposableStack();
  stack.defer(() => (isOver = true));
  stack.use(
    loops.start({
      name: 'pin-sync',
      everyMs: () => ROUND_MS * (0.75 + Math.random() / 2),
      run: async ({ beat }) => {
        const connected = wire.engine().connected();
        const peerId = connected[Math.floor(Math.random() * connected.length)];
        if (peerId !== undefined) waiting.add(peerId);
        await work(beat);
      },
      onFailure,
    }),
  );
  stack.use(
    loops.start({
      name: 'pin-sync-retries',
      everyMs: () => RETRY_MS * (0.75 + Math.random() / 2),
      run: async ({ beat }) => {
        for (const peerId of wire.engine().connected())
          if (!compared.has(peerId)) waiting.add(peerId);
        await work(beat);
      },
      onFailure,
    }),
  );
  return {
    isCurrent: () =>
      isClockUsable() &&
      knowsAll(others(), {
        isCompared: (peerId) => compared.has(peerId),
        isConnected: (peerId) => wire.isConnected(peerId),
        mayBeMore: mayBeMore(),
      }),
    startOver() {
      startOvers += 1;
      compared.clear();
    },
    [Symbol.dispose]: () => stack.dispose(),
  };
}

/** Whether a peer that compared its pins with these members knows all pins that are to be known. */
export function knowsAll(
  others: readonly Pick<Member, 'peerId' | 'state' | 'leaving' | 'draining'>[],
  {
    isCompared,
    isConnected,
    mayBeMore,
  }: {
    readonly isCompared: (peerId: PeerId) => boolean;
    readonly isConnected: (peerId: PeerId) => boolean;
    readonly mayBeMore: boolean;
  },
): boolean {
  if (others.length === 0) return !mayBeMore;
  // Who handed everything over and left for good is not waited for, or the last peer would wait for ever.
  const staying = others.filter(({ state, leaving, draining }) => {
    const isGone = state === 'out' && leaving && draining;
    return !isGone;
  });
  if (staying.length === 0) return true;
  const up = staying.filter(({ state }) => state === 'alive' || state === 'suspect');
  // In a swarm too large for a full mesh, what the others know comes by way of those we are connected to.
  const near = others.length <= FULL_MESH_MAX ? up : up.filter(({ peerId }) => isConnected(peerId));
  return (
    near.some(({ state }) => state === 'alive') && near.every(({ peerId }) => isCompared(peerId))
  );
}

/** Whether these are stamps of this bucket in the order of their roots, past the last page. */
function isPage(stamps: readonly PinStamp[], bucket: number, after: string): boolean {
  return stamps.every(
    ({ root }, index) => root > (stamps[index - 1]?.root ?? after) && pinBucket(root) === bucket,
  );
}

/** Which pins to take and which to give, from the stamps of one range of roots. */
export function compareBuckets(
  allTheirs: readonly PinStamp[],
  allOurs: readonly PinStamp[],
  isCredible: (stamp: PinStamp) => boolean = () => true,
): { take: Cid[]; give: Cid[] } {
  const [theirs, ours] = [allTheirs.filter(isCredible), allOurs.filter(isCredible)];
  const known = new Map(ours.map((stamp) => [stamp.root, stamp]));
  const seen = new Map(theirs.map((stamp) => [stamp.root, stamp]));
  const isNewer = (stamp: PinStamp, other: PinStamp | undefined) =>
    other === undefined || compareStamps(stamp, other) > 0;
  const take = theirs.filter((stamp) => isNewer(stamp, known.get(stamp.root)));
  const give = ours.filter((stamp) => isNewer(stamp, seen.get(stamp.root)));
  return { take: take.map(({ root }) => root), give: give.map(({ root }) => root) };
}

function pageOf(store: PinStore, bucket: number, after: string) {
  const stamps: PinStamp[] = [];
  for (const stamp of store.stampsIn(bucket, after)) {
    if (stamps.length === STAMPS_PER_MESSAGE_MAX) return { stamps, isLast: false };
    stamps.push(stamp);
  }
  return { stamps, isLast: true };
}

function stampsUpTo(store: PinStore, bucket: number, after: string, end: string | undefined) {
  const stamps: PinStamp[] = [];
  for (const stamp of store.stampsIn(bucket, after)) {
    if (end !== undefined && stamp.root > end) break;
    stamps.push(stamp);
  }
  return stamps;
}

function batches(roots: readonly Cid[]): Cid[][] {
  return Array.from({ length: Math.ceil(roots.length / PINS_PER_MESSAGE_MAX) }, (_, index) =>
    roots.slice(index * PINS_PER_MESSAGE_MAX, (index + 1) * PINS_PER_MESSAGE_MAX),
  );
}
