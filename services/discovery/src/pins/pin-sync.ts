/**
 * Anti-entropy of pins. Two peers compare one digest of all their pins; if it differs, one for each bucket;
 * for buckets that differ, stamps, a page at a time; then each gives the other what it lacks. The
 * usual case is one message of a hundred bytes.
 *
 * A comparison that succeeds is noted (`compared.ts`). The peer that asked has then taken all that the
 * other had. The one that was asked knows it only from equal digests, so a comparison that found differences
 * is repeated once.
 */
import { batchesOf } from '@shoal/blocks';
import type { Log, Loops, Turn } from '@shoal/chassis';
import type { Cid, PeerId } from '@shoal/protocol';
import { compareStamps, pinBucket, type PinStamp } from '@shoal/swarm';
import { STAMPS_PER_MESSAGE_MAX } from '../network/messages.ts';
import { PINS_PER_BATCH_MAX } from '../network/signed.ts';
import type { Wire } from '../network/wire.ts';
import type { Compared } from './compared.ts';
import type { PinStore } from '../state/pin-store.ts';
import { versionsOf } from '../state/pin-tables.ts';
import type { Merged } from './incoming-pins.ts';
import type { Pins } from './pins.ts';

/** Time between two rounds with a peer picked at random. */
const ROUND_MS = 20_000;
/** Time between two looks for connected peers with which no comparison succeeded. */
const RETRY_MS = 3000;
/** Longest comparison with one peer: a slow one must not starve the others. */
const SYNC_TIMEOUT_MS = 5 * 60_000;
/** Passes of one comparison: the second finds both equal, unless pins came in meanwhile. */
const PASSES = 2;
/** Wait after a connection opens, so that both sides have their handlers. */
const GREETING_DELAY_MS = 20;

export interface PinSyncDeps {
  readonly self: PeerId;
  readonly store: PinStore;
  readonly pins: Pick<Pins, 'digest' | 'isCredible' | 'kept' | 'merge' | 'take'>;
  readonly compared: Compared;
  readonly wire: Wire;
  readonly log: Log;
}

/** Answers comparisons from now on, and makes them until disposed. */
export function startPinSync(deps: PinSyncDeps, loops: Loops): Disposable {
  const { compared, wire } = deps;
  const sync = new PinSync(deps);
  const start = (name: string, everyMs: number, choose: () => readonly PeerId[]): Disposable =>
    loops.start({
      name,
      everyMs: () => everyMs * (0.75 + Math.random() / 2),
      run: (turn) => sync.compareWith(choose(), turn),
      onFailure: sync.onFailure,
    });
  const stack = new DisposableStack();
  stack.defer(() => sync.stop());
  stack.use(
    start('pin-sync', ROUND_MS, () => {
      const connected = wire.engine().connected();
      const peerId = connected[Math.floor(Math.random() * connected.length)];
      return peerId === undefined ? [] : [peerId];
    }),
  );
  stack.use(
    start('pin-sync-retries', RETRY_MS, () =>
      wire
        .engine()
        .connected()
        .filter((peerId) => !compared.has(peerId)),
    ),
  );
  return stack;
}

/** Comparisons, one at a time; requests for a peer that is queued already are merged. */
class PinSync {
  readonly #deps: PinSyncDeps;
  readonly #waiting = new Set<PeerId>();
  #state: 'idle' | 'comparing' | 'over' = 'idle';

  constructor(deps: PinSyncDeps) {
    const { self, store, pins, compared, wire } = deps;
    this.#deps = deps;
    wire.handle('pin-digest', (from, { total }) => {
      if (total !== pins.digest.total()) return { buckets: pins.digest.buckets() };
      compared.note(from);
      return {};
    });
    wire.handle('pin-stamps', (_, { bucket, after }) => pageOf(store, bucket, after));
    wire.on('connected', (peerId) => {
      // One side is enough, as both end with everything.
      if (self > peerId) return;
      this.#waiting.add(peerId);
      setTimeout(() => void this.compareWith([]).catch(this.onFailure), GREETING_DELAY_MS).unref();
    });
  }

  readonly onFailure = (err: unknown): void => {
    this.#deps.log.warn({ err }, 'comparing pins broke off');
  };

  stop(): void {
    this.#state = 'over';
  }

  /** Compares with these, and with those that are queued. */
  async compareWith(
    peerIds: readonly PeerId[],
    { beat }: Pick<Turn, 'beat'> = { beat: () => {} },
  ): Promise<void> {
    for (const peerId of peerIds) this.#waiting.add(peerId);
    if (this.#state !== 'idle') return;
    this.#state = 'comparing';
    try {
      for (const peerId of this.#waiting) {
        this.#waiting.delete(peerId);
        beat(); // one comparison may take minutes
        if (this.#isOver() || !this.#deps.wire.isConnected(peerId)) continue;
        await this.#compare(peerId).catch((err: unknown) =>
          this.#deps.log.warn({ err, with: peerId }, 'pins not compared'),
        );
      }
    } finally {
      if (!this.#isOver()) this.#state = 'idle';
    }
  }

  #isOver(): boolean {
    return this.#state === 'over';
  }

  async #compare(peerId: PeerId): Promise<void> {
    const { pins, compared, wire, log } = this.#deps;
    const round = compared.round();
    const untilMs = performance.now() + SYNC_TIMEOUT_MS;
    for (let pass = 0; pass < PASSES && !this.#isOver(); pass += 1) {
      const digest = { kind: 'pin-digest', total: pins.digest.total() } as const;
      const { buckets: theirs } = await wire.request(peerId, digest);
      if (theirs === undefined) break;
      const ours = pins.digest.buckets();
      for (const [bucket, digestHere] of ours.entries())
        if (digestHere !== theirs[bucket] && !this.#isOver())
          await this.#compareBucket(peerId, bucket, untilMs);
      log.debug({ with: peerId }, 'pins compared');
    }
    if (!this.#isOver() && wire.isConnected(peerId)) compared.note(peerId, round);
  }

  async #compareBucket(peerId: PeerId, bucket: number, untilMs: number): Promise<void> {
    const { store, pins, wire } = this.#deps;
    let after = '';
    for (let isLast = false; !isLast && !this.#isOver();) {
      // Pins that were taken stay, so the next round makes progress.
      if (performance.now() > untilMs)
        throw new Error('the comparison took too long; the next round resumes it');
      const page = await wire.request(peerId, { kind: 'pin-stamps', bucket, after });
      if (!isPage(page.stamps, bucket, after))
        throw new Error('its stamps are out of order, or of another bucket');
      isLast = page.isLast || page.stamps.length === 0;
      const end = isLast ? undefined : page.stamps.at(-1)?.root;
      const ours = stampsUpTo(store, bucket, after, end);
      const isCredible = (stamp: PinStamp) => pins.isCredible(stamp);
      const { isOpen } = pins.kept;
      const { take, give } = compareBuckets(page.stamps, ours, { isCredible, isOpen });
      await this.#take(peerId, take);
      await this.#give(peerId, give);
      after = end ?? after;
    }
  }

  async #take(peerId: PeerId, take: readonly Cid[]): Promise<void> {
    for (const roots of batches(take)) {
      const became = new Set<Merged>(await this.#deps.pins.take(peerId, roots));
      // A peer that counts as current deletes what no pin reaches, so it must not skip a pin that may be
      // sound. One that is out of bounds is no pin, and does not keep us from being current.
      if (became.has('foreign'))
        throw new Error("it has a pin that can't be read here: is it a newer Shoal?");
      if (became.has('early'))
        throw new Error('it has a pin dated too far ahead, if the clock of this peer is right');
    }
  }

  async #give(peerId: PeerId, give: readonly Cid[]): Promise<void> {
    const { store, wire, log } = this.#deps;
    const versions = give.flatMap((root) => versionsOf(store.get(root)));
    for (const some of batchesOf(versions, PINS_PER_BATCH_MAX)) {
      const given = some.map(({ signed }) => signed);
      await wire.request(peerId, { kind: 'pins-give', pins: given }).catch((err: unknown) => {
        // It may have no room. We took what it has, which is all that being current needs.
        log.debug({ err, with: peerId }, 'pins not taken');
      });
    }
  }
}

/** Whether these are stamps of this bucket in the order of their roots, past the last page. */
function isPage(stamps: readonly PinStamp[], bucket: number, after: string): boolean {
  return stamps.every(
    ({ root }, index) =>
      root > after && root >= (stamps[index - 1]?.root ?? '') && pinBucket(root) === bucket,
  );
}

/**
 * Of which roots to take pins and of which to give them, from the stamps of one range. Where there is one version on
 * each side and it is of the same signer, or pins belong to nobody, the later one goes; else what the other side lacks.
 */
export function compareBuckets(
  allTheirs: readonly PinStamp[],
  allOurs: readonly PinStamp[],
  {
    isCredible = () => true,
    isOpen = true,
  }: {
    readonly isCredible?: (stamp: PinStamp) => boolean;
    readonly isOpen?: boolean;
  } = {},
): { take: Cid[]; give: Cid[] } {
  const [theirs, ours] = [allTheirs, allOurs].map((stamps) => byRoot(stamps.filter(isCredible)));
  const lacking = (from: StampsByRoot = new Map(), to: StampsByRoot = new Map()) =>
    [...from].flatMap(([root, stamps]) =>
      hasNews(stamps, to.get(root) ?? [], { isOpen }) ? [root] : [],
    );
  return { take: lacking(theirs, ours), give: lacking(ours, theirs) };
}

type StampsByRoot = ReadonlyMap<Cid, readonly PinStamp[]>;

function byRoot(stamps: readonly PinStamp[]): StampsByRoot {
  const roots = new Map<Cid, PinStamp[]>();
  for (const stamp of stamps) {
    const others = roots.get(stamp.root);
    if (others === undefined) roots.set(stamp.root, [stamp]);
    else others.push(stamp);
  }
  return roots;
}

function hasNews(
  stamps: readonly PinStamp[],
  known: readonly PinStamp[],
  { isOpen }: { readonly isOpen: boolean },
): boolean {
  const [stamp] = stamps;
  const [other] = known;
  if (other === undefined) return true;
  const isPair = stamps.length === 1 && known.length === 1 && stamp !== undefined;
  if (isPair && (isOpen || stamp.origin === other.origin)) return compareStamps(stamp, other) > 0;
  return stamps.some((each) => !known.some((one) => isSameStamp(each, one)));
}

const isSameStamp = (a: PinStamp, b: PinStamp): boolean =>
  compareStamps(a, b) === 0 && (a.author ?? a.origin) === (b.author ?? b.origin);

function pageOf(store: PinStore, bucket: number, after: string) {
  const stamps: PinStamp[] = [];
  for (const stamp of store.stampsIn(bucket, after)) {
    if (stamps.length < STAMPS_PER_MESSAGE_MAX) {
      stamps.push(stamp);
      continue;
    }
    // The stamps of a root are on one page.
    const whole = stamps.filter(({ root }) => root !== stamp.root);
    return { stamps: whole, isLast: false };
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
  return Array.from({ length: Math.ceil(roots.length / PINS_PER_BATCH_MAX) }, (_, index) =>
    roots.slice(index * PINS_PER_BATCH_MAX, (index + 1) * PINS_PER_BATCH_MAX),
  );
}
