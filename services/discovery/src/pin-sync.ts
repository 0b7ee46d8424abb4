/**
 * Anti-entropy of pins. Two peers compare one digest of all they know; when it differs, one a bucket;
 * for buckets that differ, stamps a page at a time; then each gives the other what it lacks. In the
 * usual case that is one message of a hundred bytes.
 */
import type { Log } from '@shoal/chassis';
import type { Cid, PeerId } from '@shoal/protocol';
import { compareStamps, type PinStamp } from '@shoal/swarm';
import { PINS_PER_MESSAGE_MAX, STAMPS_PER_MESSAGE_MAX } from './messages.ts';
import type { Pins } from './pins.ts';
import { repeat } from './repeat.ts';
import type { State } from './state.ts';
import type { Wire } from './wire.ts';

/** Time between two rounds with a peer picked at random. */
const ROUND_MS = 20_000;
/** Wait after a connection opens, so that both sides have their handlers. */
const GREETING_DELAY_MS = 20;

export function startPinSync(deps: {
  readonly self: PeerId;
  readonly state: State;
  readonly pins: Pins;
  readonly wire: Wire;
  readonly log: Log;
}): Disposable {
  const { self, state, pins, wire, log } = deps;
  const waiting = new Set<PeerId>();
  let isSyncing = false;
  let isOver = false;

  wire.handle('pin-digest', (_, { total }) =>
    total === pins.digest.total() ? {} : { buckets: pins.digest.buckets() },
  );
  wire.handle('pin-stamps', (_, { bucket, after }) => pageOf(state, bucket, after));

  const syncBucket = async (peerId: PeerId, bucket: number): Promise<void> => {
    let after = '';
    for (let isLast = false; !isLast && !isOver;) {
      const page = await wire.request(peerId, { kind: 'pin-stamps', bucket, after });
      isLast = page.isLast || page.stamps.length === 0;
      const end = isLast ? undefined : page.stamps.at(-1)?.root;
      const { take, give } = compareBuckets(page.stamps, stampsUpTo(state, bucket, after, end));
      for (const roots of batches(take)) {
        const { pins: taken } = await wire.request(peerId, { kind: 'pins-get', roots });
        for (const signed of taken) await pins.merge(signed);
      }
      for (const roots of batches(give)) {
        const given = roots
          .map((root) => state.getPin(root)?.signed)
          .filter((signed) => signed !== undefined);
        await wire.request(peerId, { kind: 'pins-put', pins: given });
      }
      after = end ?? after;
    }
  };
  const syncWith = async (peerId: PeerId): Promise<void> => {
    const digest = { kind: 'pin-digest', total: pins.digest.total() } as const;
    const { buckets: theirs } = await wire.request(peerId, digest);
    if (theirs === undefined) return;
    const ours = pins.digest.buckets();
    for (const [bucket, digestHere] of ours.entries())
      if (digestHere !== theirs[bucket] && !isOver) await syncBucket(peerId, bucket);
    log.debug({ with: peerId }, 'pins compared');
  };
  const work = async (): Promise<void> => {
    if (isSyncing) return;
    isSyncing = true;
    try {
      for (const peerId of waiting) {
        waiting.delete(peerId);
        if (isOver || !wire.isConnected(peerId)) continue;
        await syncWith(peerId).catch((err: unknown) =>
          log.debug({ err, with: peerId }, 'pins not compared'),
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
  const rounds = repeat(
    async () => {
      const connected = wire.engine().connected();
      const peerId = connected[Math.floor(Math.random() * connected.length)];
      if (peerId !== undefined) waiting.add(peerId);
      await work();
    },
    () => ROUND_MS * (0.75 + Math.random() / 2),
    onFailure,
  );
  return {
    [Symbol.dispose]() {
      isOver = true;
      rounds[Symbol.dispose]();
    },
  };
}

/** Which pins to take and which to give, from the stamps of one range of roots. */
export function compareBuckets(
  theirs: readonly PinStamp[],
  ours: readonly PinStamp[],
): { take: Cid[]; give: Cid[] } {
  const known = new Map(ours.map((stamp) => [stamp.root, stamp]));
  const seen = new Map(theirs.map((stamp) => [stamp.root, stamp]));
  const isNewer = (stamp: PinStamp, other: PinStamp | undefined) =>
    other === undefined || compareStamps(stamp, other) > 0;
  const take = theirs.filter((stamp) => isNewer(stamp, known.get(stamp.root)));
  const give = ours.filter((stamp) => isNewer(stamp, seen.get(stamp.root)));
  return { take: take.map(({ root }) => root), give: give.map(({ root }) => root) };
}

function pageOf(state: State, bucket: number, after: string) {
  const stamps: PinStamp[] = [];
  for (const stamp of state.stampsIn(bucket, after)) {
    if (stamps.length === STAMPS_PER_MESSAGE_MAX) return { stamps, isLast: false };
    stamps.push(stamp);
  }
  return { stamps, isLast: true };
}

function stampsUpTo(state: State, bucket: number, after: string, end: string | undefined) {
  const stamps: PinStamp[] = [];
  for (const stamp of state.stampsIn(bucket, after)) {
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
