/**
 * The pins of the swarm, all of them on every member. A new one is durable here before it is sent to
 * others; then it is broadcast, and while not all members hear that, pushed to those that are connected. Anti-entropy brings a peer the pins that it missed (`pin-sync.ts`).
 */
import assert from 'node:assert';
import { batchesOf } from '@shoal/blocks';
import type { Log } from '@shoal/chassis';
import { type Cid, type PeerId, type Pin, type PinDraft, StorageFull } from '@shoal/protocol';
import {
  comparePins,
  createPinDigest,
  futureOf,
  isDeletedForNow,
  nextPin,
  type PinDigest,
  type PinMaker,
  type PinStamp,
} from '@shoal/swarm';
import type { OwnClock } from '../members/own-clock.ts';
import type { Metrics } from '../metrics.ts';
import { pinsIn } from '../network/budget.ts';
import { BATCHES_PER_MESSAGE_MAX, MadePins } from '../network/messages.ts';
import type { Refusals } from '../network/refusals.ts';
import {
  isAuthentic,
  PINS_PER_BATCH_MAX,
  pinsOf,
  read,
  type SignedBatch,
  type SignedPin,
  type Signer,
} from '../network/signed.ts';
import type { Wire } from '../network/wire.ts';
import type { ChangedPins } from './changed-pins.ts';
import type { Compared } from './compared.ts';
import type { PinStore } from '../state/pin-store.ts';
import type { StoredPin } from '../state/pin-tables.ts';

/** After a message what is made gathers for this long, so that a burst is a few messages, and a transaction each at all others. */
const GATHER_MS = 100;
/** Longest wait of an upload for pins that others have for its root, while we may not know all pins. */
const RECALL_TIMEOUT_MS = 500;

/**
 * The outcome for a pin that came in. `foreign`: it may be sound, and this version can't read it.
 * `early`: it is dated too far ahead of our clock, and no member tells us whether our clock is right.
 */
export type Merged = 'news' | 'known' | 'refused' | 'foreign' | 'early';

export interface PinsDeps {
  readonly self: PeerId;
  readonly store: PinStore;
  readonly signer: Signer;
  readonly wire: Wire;
  readonly compared: Pick<Compared, 'isCurrent' | 'startOver'>;
  readonly ownClock: OwnClock;
  /** Whether anything may be written here. @throws IdentityInUse */
  readonly checkName: () => void;
  readonly refusals: Refusals;
  /** Hears of pins that replaced others, before the change is answered. */
  readonly changed: Pick<ChangedPins, 'note' | 'tell'>;
  /** `isForRoom`: it was purged because this peer needs its room. */
  readonly onChange: (pin: Pin, old: Pin | undefined, how: Change) => void;
  readonly metrics: Metrics;
  readonly log: Log;
}

/** How a pin changed. */
interface Change {
  readonly isForRoom: boolean;
  /** Whether the pins of all members were known here: one that came is new then. */
  readonly isCurrent: boolean;
}

type NextPin = (old: Pin | undefined, maker: PinMaker) => Pin;

/** A pin of another peer that was found sound. */
type SoundPin = Pick<StoredPin, 'pin' | 'signed'>;

export class Pins {
  readonly digest: PinDigest = createPinDigest();
  #unsent: SignedBatch[] = [];
  #gathering = false;
  readonly #deps: PinsDeps;

  constructor(deps: PinsDeps) {
    const { store, wire, log } = deps;
    this.#deps = deps;
    for (const { pin } of store.after('')) this.digest.toggle(pin);
    this.count();
    wire.listen('pins', MadePins, (from, made) => {
      wire.budget.spend(from, 'pins', pinsIn(made));
      this.merge(made.flatMap(pinsOf), from).catch((err: unknown) => {
        // Anti-entropy brings it when there is room again.
        if (err instanceof StorageFull) log.warn({ err }, 'no room for pins');
        else log.error({ err }, 'pins not stored');
      });
    });
    wire.handle('pins-put', async (from, { made }) => {
      await this.merge(made.flatMap(pinsOf), from);
      return {};
    });
    wire.handle('pins-give', async (from, { pins }) => {
      await this.merge(pins, from);
      return {};
    });
    wire.handle('pins-get', (_, { roots }) => {
      const found = roots.slice(0, PINS_PER_BATCH_MAX).map((root) => store.get(root)?.signed);
      return { pins: found.filter((signed) => signed !== undefined) };
    });
  }

  /**
   * Makes pins from drafts, all or none: signed, durable, on their way to all members.
   * @throws StorageFull, ClockWrong, IdentityInUse
   */
  async put(drafts: readonly PinDraft[]): Promise<Pin[]> {
    const { compared, ownClock, checkName } = this.#deps;
    checkName();
    ownClock.check();
    // A tombstone that is unknown here would win over an upload made by a clock that is behind.
    if (!compared.isCurrent()) await this.recall(drafts.map(({ root }) => root));
    return this.#makeAll(
      drafts.map((draft) => ({
        root: draft.root,
        next: (old, maker) => nextPin(draft, old, maker),
      })),
    );
  }

  /**
   * Replaces the pin of a root atomically. `next` makes the new one from the current one; if it returns the
   * current one, nothing changes.
   * @throws StorageFull, ClockWrong, IdentityInUse, and what `next` throws
   */
  async make(
    root: Cid,
    next: NextPin,
    { isForRoom = false }: { readonly isForRoom?: boolean } = {},
  ): Promise<Pin> {
    const { ownClock, checkName } = this.#deps;
    checkName();
    ownClock.check();
    const [pin] = await this.#makeAll([{ root, next }], { isForRoom });
    assert(pin !== undefined, 'one pin asked for is one made');
    return pin;
  }

  /**
   * Takes in pins that another peer sent, those that are news in one transaction; one that is refused is named
   * in the log, and does not hold up the others.
   * @throws StorageFull
   */
  async merge(all: readonly SignedPin[], from: PeerId): Promise<Merged[]> {
    const judged = all.map((signed) => this.#judge(signed, from));
    const news = judged.flatMap((each) => (typeof each === 'string' ? [] : [each]));
    const isStored = await this.#store(news);
    return judged.map((each) => {
      if (typeof each === 'string') return each;
      const outcome = isStored.get(each) === true ? 'news' : 'known';
      this.#deps.metrics.pinMerges.inc({ outcome: outcome === 'news' ? 'merged' : 'known' });
      return outcome;
    });
  }

  /** Asks connected members for their pins of these roots, tombstones too; those that don't answer are skipped. */
  async recall(roots: readonly Cid[]): Promise<void> {
    const { wire } = this.#deps;
    const ask = async (peerId: PeerId): Promise<void> => {
      for (const some of batchesOf(roots, PINS_PER_BATCH_MAX)) {
        const question = { kind: 'pins-get', roots: some } as const;
        const { pins } = await wire.request(peerId, question, { timeoutMs: RECALL_TIMEOUT_MS });
        await this.merge(pins, peerId);
      }
    };
    await Promise.allSettled(wire.engine().connected().map(ask));
  }

  /**
   * The stored pin, if it counts. One from before dates had a bound may be dated too far ahead; any
   * other pin then wins over it.
   */
  standing(pin: Pin | undefined): Pin | undefined {
    return pin !== undefined && this.isCredible(pin) ? pin : undefined;
  }

  /** Whether a stamp is not dated too far ahead; a clock that may be wrong itself judges nothing. */
  isCredible(stamp: PinStamp): boolean {
    return this.#deps.ownClock.verdict() !== 'right' || futureOf(stamp, Date.now()) === undefined;
  }

  /** Sends at once what gathers to be sent. */
  flush(): void {
    const { wire, metrics } = this.#deps;
    const isHeardByAll = wire.engine().reachesAll();
    for (const made of messagesOf(this.#unsent)) {
      wire.broadcast('pins', made); // a member that misses it gets it by anti-entropy
      if (isHeardByAll) continue;
      for (const peerId of wire.engine().connected())
        wire.request(peerId, { kind: 'pins-put', made }).catch(() => {
          metrics.messages.inc({ kind: 'pins-put', outcome: 'failed' });
        });
    }
    this.#unsent = [];
  }

  /** Sets the metrics of pins by kind. */
  count(): void {
    const { store, metrics } = this.#deps;
    const { live, recoverable, deleted } = store.counts();
    metrics.pins.set({ kind: 'live' }, live);
    metrics.pins.set({ kind: 'recoverable' }, recoverable);
    metrics.pins.set({ kind: 'deleted' }, deleted);
  }

  /** Makes pins in one transaction, and sends them to all members in one message. */
  async #makeAll(
    wishes: readonly { readonly root: Cid; readonly next: NextPin }[],
    { isForRoom = false }: { readonly isForRoom?: boolean } = {},
  ): Promise<Pin[]> {
    const { self, store, signer, metrics } = this.#deps;
    const maker = { nowMs: Date.now(), origin: self };
    const batches: SignedBatch[] = [];
    const updates = await store.updateAll(
      wishes.map(({ root, next }) => ({
        root,
        next: (stored) => {
          const stands = this.standing(stored);
          const pin = next(stands, maker);
          if (pin === stands) return undefined;
          assert(pin.root === root, 'a pin is made for its own root');
          assert(
            stands === undefined || comparePins(pin, stands) > 0,
            'a pin that is made wins over the current one',
          );
          return { pin };
        },
      })),
      (made) => {
        for (const some of batchesOf(made, PINS_PER_BATCH_MAX))
          batches.push(signer.signPins(some.map(({ pin }) => pin)));
        const signed = batches.flatMap(pinsOf);
        return made.map(({ pin }, at) => storedOf(pin, signed[at], Date.now()));
      },
    );
    const isCurrent = this.#deps.compared.isCurrent();
    const pins = updates.map(({ old, now }) => {
      assert(now !== undefined, 'a pin that was made is stored');
      if (now === old) return now.pin;
      metrics.pinMerges.inc({ outcome: 'made' });
      this.#noteChange(old?.pin, now.pin, { isForRoom, isCurrent });
      return now.pin;
    });
    this.count();
    this.#spread(batches);
    if (updates.some(({ old, now }) => old !== undefined && now !== old))
      await this.#deps.changed.tell();
    return pins;
  }

  /** A pin of another peer that may be news here; or what else it is. */
  #judge(signed: SignedPin, from: PeerId): Exclude<Merged, 'news'> | SoundPin {
    const { store, ownClock, refusals, metrics } = this.#deps;
    const said = read('pin', signed);
    if (said.content === undefined) {
      metrics.pinMerges.inc({ outcome: 'malformed' });
      refusals.note({ what: 'pin', from, name: said.name, reason: said.reason });
      return said.isForeign ? 'foreign' : 'refused';
    }
    const pin = said.content;
    const stored = store.get(pin.root)?.pin;
    if (this.#isKnown(pin, stored) || (stored !== undefined && comparePins(pin, stored) === 0)) {
      metrics.pinMerges.inc({ outcome: 'known' });
      return 'known';
    }
    const future = futureOf(pin, Date.now());
    if (future !== undefined) {
      this.#refuse(pin.root, future, from);
      return ownClock.verdict() === 'right' ? 'refused' : 'early';
    }
    if (!isAuthentic('pin', pin, signed)) {
      this.#refuse(pin.root, 'signature: is not that of its origin', from);
      return 'refused';
    }
    return { pin, signed };
  }

  /** Stores pins of another peer, unless current ones win over them; returns for which it did. */
  async #store(news: readonly SoundPin[]): Promise<Map<SoundPin, boolean>> {
    const { store, compared, changed } = this.#deps;
    const isStored = new Map<SoundPin, boolean>();
    if (news.length === 0) return isStored;
    const isCurrent = compared.isCurrent();
    const changes = news.map((each) => ({
      root: each.pin.root,
      next: (now: Pin | undefined) => {
        const isNews = !this.#isKnown(each.pin, now);
        isStored.set(each, isNews);
        return isNews
          ? storedOf(each.pin, each.signed, seenAtMs(each.pin, { isCurrent }))
          : undefined;
      },
    }));
    const updates = await store
      .updateAll(changes, (made) => made)
      .catch((error: unknown) => {
        compared.startOver(); // pins that another peer has are missing here
        throw error;
      });
    for (const [at, { old }] of updates.entries()) {
      const each = news[at];
      if (each !== undefined && isStored.get(each) === true)
        this.#noteChange(old?.pin, each.pin, { isForRoom: false, isCurrent });
    }
    this.count();
    void changed.tell(); // it throws nothing
    return isStored;
  }

  #isKnown(pin: Pin, stored: Pin | undefined): boolean {
    const known = this.standing(stored);
    return known !== undefined && comparePins(pin, known) <= 0;
  }

  /** Only after a pin is on disk: memory is never ahead of it. */
  #noteChange(old: Pin | undefined, pin: Pin, how: Change): void {
    const { metrics, changed, onChange } = this.#deps;
    assert(old === undefined || old.root === pin.root, 'a pin follows one of its own root');
    if (old !== undefined) this.digest.toggle(old);
    if (old !== undefined) changed.note(pin.root);
    this.digest.toggle(pin);
    if (old !== undefined && isDeletedForNow(old) && pin.deleted && !isDeletedForNow(pin))
      metrics.pinsPurged.inc({ why: how.isForRoom ? 'room' : 'asked' });
    onChange(pin, old, how);
  }

  /** Sends them: the first of a burst at once, the others of it some at a time. */
  #spread(batches: readonly SignedBatch[]): void {
    this.#unsent.push(...batches);
    if (this.#gathering) return;
    this.flush();
    this.#gathering = true;
    setTimeout(() => {
      this.#gathering = false;
      if (this.#unsent.length > 0) this.#spread([]);
    }, GATHER_MS).unref();
  }

  #refuse(name: string | undefined, reason: string, from: PeerId): void {
    this.#deps.metrics.pinMerges.inc({ outcome: 'refused' });
    this.#deps.refusals.note({ what: 'pin', from, name, reason });
  }
}

/**
 * When a file was deleted, as far as is known here. The date is by another peer's clock: a file was
 * deleted before we heard of it, and just now if we knew all other pins when we did.
 */
function seenAtMs({ deletedAtMs }: Pin, { isCurrent }: Pick<Change, 'isCurrent'>): number {
  const nowMs = Date.now();
  return isCurrent ? nowMs : Math.min(deletedAtMs ?? Infinity, nowMs);
}

/** A pin as it is stored; the time of deletion matters only while the file can be brought back. */
function storedOf(pin: Pin, signed: SignedPin | undefined, deletedSeenMs: number): StoredPin {
  assert(signed !== undefined, 'each pin that is made is signed');
  return isDeletedForNow(pin) ? { pin, signed, deletedSeenMs } : { pin, signed };
}

/** Batches by message: as many as one takes, and no more pins than it has room for. */
function* messagesOf(batches: readonly SignedBatch[]): Generator<SignedBatch[]> {
  let message: SignedBatch[] = [];
  let pins = 0;
  for (const batch of batches) {
    const isFull =
      message.length === BATCHES_PER_MESSAGE_MAX ||
      pins + batch.payloads.length > PINS_PER_BATCH_MAX;
    if (isFull && message.length > 0) {
      yield message;
      [message, pins] = [[], 0];
    }
    message.push(batch);
    pins += batch.payloads.length;
  }
  if (message.length > 0) yield message;
}
