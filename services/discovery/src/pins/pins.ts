/**
 * The pins of the swarm, all of them on every member. A new one is on disk here before anybody hears
 * of it; then it is broadcast, and pushed to those we are connected to, because a broadcast may find a
 * mesh that is still forming. A peer gets the pins that it missed by anti-entropy (`pin-sync.ts`).
 */
import assert from 'node:assert';
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
import { PINS_PER_MESSAGE_MAX } from '../network/messages.ts';
import type { Refusals } from '../network/refusals.ts';
import { isAuthentic, read, Signed, type Signer } from '../network/signed.ts';
import type { Wire } from '../network/wire.ts';
import type { Compared } from './compared.ts';
import type { PinStore, StoredPin } from './pin-store.ts';

/** Longest wait of an upload for what the others know of its root, while we may not know all. */
const RECALL_TIMEOUT_MS = 500;

/**
 * The outcome for a pin that came in. `foreign`: it may be sound, and can't be read by this version.
 * `early`: it is dated too far ahead of a clock of which nobody knows whether it is right.
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
  /** `isForRoom`: it was purged since this peer needs its room. */
  readonly onChange: (pin: Pin, old: Pin | undefined, why: { readonly isForRoom: boolean }) => void;
  readonly metrics: Metrics;
  readonly log: Log;
}

export class Pins {
  readonly digest: PinDigest = createPinDigest();
  readonly #deps: PinsDeps;

  constructor(deps: PinsDeps) {
    const { store, wire, log } = deps;
    this.#deps = deps;
    for (const { pin } of store.after('')) this.digest.toggle(pin);
    this.count();
    wire.listen('pins', Signed, (from, signed) => {
      this.merge(signed, from).catch((err: unknown) => {
        // Anti-entropy brings it when there is room again.
        if (err instanceof StorageFull) log.warn({ err }, 'no room for a pin');
        else log.error({ err }, 'pin not stored');
      });
    });
    wire.handle('pins-put', async (from, { pins }) => {
      for (const signed of pins) await this.merge(signed, from);
      return {};
    });
    wire.handle('pins-get', (_, { roots }) => {
      const found = roots.slice(0, PINS_PER_MESSAGE_MAX).map((root) => store.get(root)?.signed);
      return { pins: found.filter((signed) => signed !== undefined) };
    });
  }

  /**
   * Makes a pin of a wish: signed, durable, on its way to all members.
   * @throws StorageFull, ClockWrong, IdentityInUse
   */
  async put(draft: PinDraft): Promise<Pin> {
    const { compared, ownClock, checkName } = this.#deps;
    checkName();
    ownClock.check();
    // A tombstone that is unknown here would win over an upload made by a clock that is behind.
    if (!compared.isCurrent()) await this.recall(draft.root);
    return this.make(draft.root, (old, maker) => nextPin(draft, old, maker));
  }

  /**
   * Makes the pin that follows the one that stands, whatever came in before this moment; when `next`
   * answers the one that stands, nothing is made.
   * @throws StorageFull, ClockWrong, IdentityInUse, and what `next` throws
   */
  async make(
    root: Cid,
    next: (old: Pin | undefined, maker: PinMaker) => Pin,
    { isForRoom = false }: { readonly isForRoom?: boolean } = {},
  ): Promise<Pin> {
    const { self, store, signer, ownClock, checkName, metrics } = this.#deps;
    checkName();
    ownClock.check();
    const { old, now } = await store.update(root, (stored) => {
      const stands = this.standing(stored?.pin);
      const pin = next(stands, { nowMs: Date.now(), origin: self });
      if (pin === stands) return undefined;
      assert(pin.root === root, 'a pin is made for its own root');
      assert(
        stands === undefined || comparePins(pin, stands) > 0,
        'a pin that is made wins over the one that stands',
      );
      return storedOf(pin, signer.sign('pin', pin), Date.now());
    });
    assert(now !== undefined, 'there is a pin once one was made');
    if (now === old) return now.pin;
    metrics.pinMerges.inc({ outcome: 'made' });
    this.#noteChange(old?.pin, now.pin, { isForRoom });
    this.#spread(now.signed);
    return now.pin;
  }

  /**
   * Takes in a pin that another peer sent; what is out of bounds is named in the log.
   * @throws StorageFull
   */
  async merge(signed: Signed, from: PeerId): Promise<Merged> {
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
    const isNews = await this.#store(pin, signed);
    metrics.pinMerges.inc({ outcome: isNews ? 'merged' : 'known' });
    return isNews ? 'news' : 'known';
  }

  /** Learns what connected members know of a root, tombstones too; one that does not answer is passed over. */
  async recall(root: Cid): Promise<void> {
    const { wire } = this.#deps;
    const ask = async (peerId: PeerId): Promise<void> => {
      const { pins } = await wire.request(
        peerId,
        { kind: 'pins-get', roots: [root] },
        { timeoutMs: RECALL_TIMEOUT_MS },
      );
      for (const signed of pins) await this.merge(signed, peerId);
    };
    await Promise.allSettled(wire.engine().connected().map(ask));
  }

  /**
   * The stored pin, if it counts: one from before dates had a bound may be too far ahead, and then
   * anything wins over it.
   */
  standing(pin: Pin | undefined): Pin | undefined {
    return pin !== undefined && this.isCredible(pin) ? pin : undefined;
  }

  /** Whether a stamp is not from too far ahead; by a clock that may be wrong itself nothing is judged. */
  isCredible(stamp: PinStamp): boolean {
    return this.#deps.ownClock.verdict() !== 'right' || futureOf(stamp, Date.now()) === undefined;
  }

  /** Sets the metrics of pins by kind. */
  count(): void {
    const { store, metrics } = this.#deps;
    const { live, recoverable, deleted } = store.counts();
    metrics.pins.set({ kind: 'live' }, live);
    metrics.pins.set({ kind: 'recoverable' }, recoverable);
    metrics.pins.set({ kind: 'deleted' }, deleted);
  }

  /** Stores a pin of another peer, unless what stands by now wins over it; answers whether it did. */
  async #store(pin: Pin, signed: Signed): Promise<boolean> {
    const { store, compared } = this.#deps;
    let isNews = false;
    const { old } = await store
      .update(pin.root, (now) => {
        isNews = !this.#isKnown(pin, now?.pin);
        return isNews ? storedOf(pin, signed, this.#seenAtMs(pin)) : undefined;
      })
      .catch((error: unknown) => {
        compared.startOver(); // a pin of another peer is known, and was not kept
        throw error;
      });
    if (isNews) this.#noteChange(old?.pin, pin, { isForRoom: false });
    return isNews;
  }

  #isKnown(pin: Pin, stored: Pin | undefined): boolean {
    const known = this.standing(stored);
    return known !== undefined && comparePins(pin, known) <= 0;
  }

  /**
   * When a file was deleted, as far as is known here. The date is by another peer's clock: nothing was
   * deleted after we heard of it, and what we hear while all else is known was deleted just now.
   */
  #seenAtMs({ deletedAtMs }: Pin): number {
    const nowMs = Date.now();
    return this.#deps.compared.isCurrent() ? nowMs : Math.min(deletedAtMs ?? Infinity, nowMs);
  }

  /** Only after a pin is on disk: what is kept in memory is never ahead of it. */
  #noteChange(
    old: Pin | undefined,
    pin: Pin,
    { isForRoom }: { readonly isForRoom: boolean },
  ): void {
    const { metrics, onChange } = this.#deps;
    assert(old === undefined || old.root === pin.root, 'a pin follows one of its own root');
    if (old !== undefined) this.digest.toggle(old);
    this.digest.toggle(pin);
    this.count();
    if (old !== undefined && isDeletedForNow(old) && pin.deleted && !isDeletedForNow(pin))
      metrics.pinsPurged.inc({ why: isForRoom ? 'room' : 'asked' });
    onChange(pin, old, { isForRoom });
  }

  #spread(signed: Signed): void {
    const { wire, metrics } = this.#deps;
    // Connected members get it below, and answer.
    if (!wire.engine().reachesAll()) wire.broadcast('pins', signed);
    for (const peerId of wire.engine().connected())
      wire.request(peerId, { kind: 'pins-put', pins: [signed] }).catch(() => {
        metrics.messages.inc({ kind: 'pins-put', outcome: 'failed' }); // anti-entropy brings it
      });
  }

  #refuse(name: string | undefined, reason: string, from: PeerId): void {
    this.#deps.metrics.pinMerges.inc({ outcome: 'refused' });
    this.#deps.refusals.note({ what: 'pin', from, name, reason });
  }
}

/** A pin as it is stored; when it was deleted matters only to a file that can be brought back. */
const storedOf = (pin: Pin, signed: Signed, deletedSeenMs: number): StoredPin =>
  isDeletedForNow(pin) ? { pin, signed, deletedSeenMs } : { pin, signed };
