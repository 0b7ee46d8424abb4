/**
 * The pins of the swarm, all of them on every member. A new one is durable here before it is sent to
 * others; then it is broadcast, and while not all members hear that, pushed to those that are connected. Anti-entropy brings a peer the pins that it missed (`pin-sync.ts`).
 */
import assert from 'node:assert';
import { batchesOf } from '@shoal/blocks';
import { type Log, type Roster, type TokenKey, withRight } from '@shoal/chassis';
import { type Cid, type PeerId, type Pin, type PinDraft, StorageFull } from '@shoal/protocol';
import {
  comparePins,
  createPinDigest,
  futureOf,
  type HasPin,
  isDeletedForNow,
  nextPin,
  type PinDigest,
  type PinMaker,
  type PinStamp,
} from '@shoal/swarm';
import type { OwnClock } from '../members/own-clock.ts';
import type { Metrics } from '../metrics.ts';
import { pinsIn } from '../network/budget.ts';
import { MadePins } from '../network/messages.ts';
import type { Refusals } from '../network/refusals.ts';
import {
  PINS_PER_BATCH_MAX,
  pinsOf,
  type SignedBatch,
  type SignedPin,
  type Signer,
} from '../network/signed.ts';
import type { Wire } from '../network/wire.ts';
import type { ChangedPins } from './changed-pins.ts';
import type { Compared } from './compared.ts';
import type { TokenUse } from './token-use.ts';
import { Kept, type Known } from './kept.ts';
import { IncomingPins, type Merged } from './incoming-pins.ts';
import { PinOutbox } from './pin-outbox.ts';
import type { PinStore, PinUpdate, PinUpdateDeps, PinUpdateWish } from '../state/pin-store.ts';
import { stampsOf, type StoredPin, versionsOf } from '../state/pin-tables.ts';

export interface PinsDeps {
  readonly self: PeerId;
  readonly store: PinStore;
  /** Says who may change which pin. */
  readonly roster: Pick<Roster, 'view'>;
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
  /** Sums what each token put. */
  readonly tokenUse: Pick<TokenUse, 'note'>;
  readonly metrics: Metrics;
  readonly log: Log;
}

/** How a pin changed. */
interface Change {
  readonly isForRoom: boolean;
  /** Whether the pins of all members were known here: one that came is new then. */
  readonly isCurrent: boolean;
}

/** Facts of a change beside its versions. */
interface UpdateHow {
  /** When a file was deleted, if this version says that it was. */
  readonly deletedSeenMs: (pin: Pin) => number;
  readonly isForRoom?: boolean;
}

/** The versions that a change of a root adds; none when nothing changes. */
type NextPins = (known: Known, maker: PinMaker) => readonly Pin[];

interface MakeWish {
  readonly root: Cid;
  readonly next: NextPins;
  /** A version that is known, and not here. */
  readonly unstored?: Pin | undefined;
  /** That of the user who asks for it. */
  readonly token?: TokenKey | undefined;
}

export class Pins {
  readonly digest: PinDigest = createPinDigest();
  readonly kept: Kept;
  readonly #outbox: PinOutbox;
  readonly #incoming: IncomingPins;
  readonly #deps: PinsDeps;

  constructor(deps: PinsDeps) {
    const { store, wire, log } = deps;
    this.#deps = deps;
    this.kept = new Kept(deps);
    this.#outbox = new PinOutbox(deps);
    this.#incoming = new IncomingPins({
      ...deps,
      kept: this.kept,
      standing: (versions) => this.standing(versions),
      update: (changes, how) => this.update(changes, how),
      count: () => this.count(),
    });
    const nowMs = Date.now();
    for (const stored of store.after('')) {
      this.#toggle(stored);
      deps.tokenUse.note(stored.pin.root, eachAuthors(stored), nowMs);
    }
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
      const pins: SignedPin[] = [];
      for (const root of roots) {
        const versions = versionsOf(store.get(root));
        if (pins.length + versions.length > PINS_PER_BATCH_MAX) return { pins, next: root };
        pins.push(...versions.map(({ signed }) => signed));
      }
      return { pins };
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
    const made = await this.#makeAll(
      drafts.map((draft) => ({
        root: draft.root,
        next: ({ own }, maker) => [nextPin(draft, own, maker)],
      })),
    );
    return made.filter((pin) => pin !== undefined);
  }

  /**
   * Changes the pins of a root atomically: `next` makes versions from what is known of it. Returns what they amount to.
   * @throws StorageFull, ClockWrong, IdentityInUse, and what `next` throws
   */
  async make(
    root: Cid,
    next: NextPins,
    {
      isForRoom = false,
      ...of
    }: Pick<MakeWish, 'unstored' | 'token'> & { readonly isForRoom?: boolean } = {},
  ): Promise<Pin> {
    const { ownClock, checkName } = this.#deps;
    checkName();
    ownClock.check();
    const [pin] = await this.#makeAll([{ root, next, ...of }], { isForRoom });
    assert(pin !== undefined, 'one pin asked for is one made');
    return pin;
  }

  /**
   * Purges a deleted file here alone, when this peer needs its room and may not purge it everywhere.
   * @throws StorageFull
   */
  async purgeHere(root: Cid): Promise<void> {
    const { store, metrics, changed, onChange, compared } = this.#deps;
    if (!(await store.purgeHere(root))) return;
    const stored = store.get(root);
    assert(stored !== undefined, 'what was purged is known');
    metrics.pinsPurged.inc({ why: 'room' });
    this.count();
    changed.note(root);
    onChange(stored.pin, stored.pin, { isForRoom: true, isCurrent: compared.isCurrent() });
    await changed.tell();
  }

  /**
   * Takes in pins that another peer sent, those that are news in one transaction; one that is refused is named
   * in the log, and does not hold up the others.
   * @throws StorageFull
   */
  merge(all: readonly SignedPin[], from: PeerId): Promise<Merged[]> {
    return this.#incoming.merge(all, from);
  }

  /** Asks connected members for their pins of these roots, tombstones too; those that don't answer are skipped. */
  recall(roots: readonly Cid[]): Promise<void> {
    return this.#incoming.recall(roots);
  }

  /** Takes all that a peer has of these roots; returns what became of it. @param roots At most `PINS_PER_BATCH_MAX`. */
  take(peerId: PeerId, roots: readonly Cid[]): Promise<Merged[]> {
    return this.#incoming.take(peerId, roots);
  }

  /** Whether a stamp is not dated too far ahead; a clock that may be wrong itself judges nothing. */
  isCredible(stamp: PinStamp): boolean {
    return this.#deps.ownClock.verdict() !== 'right' || futureOf(stamp, Date.now()) === undefined;
  }

  /** Counts anew what tokens put under a root. */
  noteTokens(root: Cid): void {
    const { store, tokenUse } = this.#deps;
    tokenUse.note(root, eachAuthors(store.get(root)), Date.now());
  }

  /** Sends at once what gathers to be sent. */
  flush(): void {
    this.#outbox.flush();
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
    wishes: readonly MakeWish[],
    { isForRoom = false }: { readonly isForRoom?: boolean } = {},
  ): Promise<(Pin | undefined)[]> {
    const { self, signer, metrics } = this.#deps;
    const maker = { nowMs: Date.now(), origin: self };
    const batches: SignedBatch[] = [];
    const updates = await this.update(
      wishes.map(({ root, next, unstored, token }) => ({
        root,
        next: (versions) => {
          const standing = this.standing(versions);
          const all = unstored === undefined ? standing : [...standing, { pin: unstored }];
          const known = this.kept.known(all, maker.nowMs, token);
          const made = next(known, maker).map((pin) =>
            token === undefined || this.kept.notSpokenFor(pin) === undefined
              ? pin
              : withRight(pin, token),
          );
          this.#checkMade(root, made, known);
          if (made.length === 0) return undefined;
          return this.kept.of([...standing, ...made.map((pin) => ({ pin }))]);
        },
      })),
      { deletedSeenMs: () => maker.nowMs, isForRoom },
      (made) => {
        for (const some of batchesOf(made, PINS_PER_BATCH_MAX)) batches.push(signer.signPins(some));
        return batches.flatMap(pinsOf);
      },
    );
    metrics.pinMerges.inc(
      { outcome: 'made' },
      batches.reduce((sum, { payloads }) => sum + payloads.length, 0),
    );
    this.count();
    this.#outbox.add(batches);
    if (updates.some(({ old, now }) => old !== undefined && now !== old))
      await this.#deps.changed.tell();
    return updates.map(({ now }) => now?.pin);
  }

  /**
   * Changes what is stored of roots, and then what is in memory.
   * @throws StorageFull
   */
  async update(
    changes: readonly PinUpdateWish[],
    { deletedSeenMs, isForRoom = false }: UpdateHow,
    seal: PinUpdateDeps['seal'] = () => [],
  ): Promise<PinUpdate[]> {
    const nowMs = Date.now();
    const isCurrent = this.#deps.compared.isCurrent();
    const updates = await this.#deps.store.updateAll(changes, {
      seal,
      form: (versions, old) => this.kept.form(versions, old, { nowMs, deletedSeenMs }),
    });
    for (const { old, now } of updates)
      if (now !== old) this.#noteChange(old, now, { isForRoom, isCurrent });
    return updates;
  }

  /**
   * The versions that count. One from before dates had a bound may be dated too far ahead; any other then wins over it.
   */
  standing<V extends HasPin>(versions: readonly V[]): readonly V[] {
    return versions.every(({ pin }) => this.isCredible(pin))
      ? versions
      : versions.filter(({ pin }) => this.isCredible(pin));
  }

  #checkMade(root: Cid, made: readonly Pin[], { entries }: Known): void {
    for (const pin of made) {
      assert(pin.root === root, 'a pin is made for its own root');
      const { author = pin.origin } = pin;
      assert(this.kept.notSpokenFor(pin) === undefined, 'a pin is made by who may');
      assert(
        entries.every(
          (entry) =>
            (!this.kept.isOpen && entry.author !== author) || comparePins(pin, entry.pin) > 0,
        ),
        'a pin that is made wins over the current one',
      );
    }
  }

  #toggle(stored: StoredPin): void {
    for (const stamp of stampsOf(stored)) this.digest.toggle(stamp);
  }

  /** Only after a pin is on disk: memory is never ahead of it. */
  #noteChange(old: StoredPin | undefined, now: StoredPin | undefined, how: Change): void {
    const { metrics, changed, onChange } = this.#deps;
    assert(
      old === undefined || now === undefined || old.pin.root === now.pin.root,
      'a pin follows one of its own root',
    );
    if (old !== undefined) this.#toggle(old);
    if (now !== undefined) this.#toggle(now);
    const root = (now ?? old)?.pin.root;
    if (root !== undefined) this.noteTokens(root);
    const was = old?.pin;
    const is = now?.pin ?? (was && goneOf(was));
    if (is === undefined) return;
    // A version of one author need not change what all amount to.
    if (was !== undefined && comparePins(is, was) === 0) return;
    if (was !== undefined) changed.note(is.root);
    if (was !== undefined && isDeletedForNow(was) && is.deleted && !isDeletedForNow(is))
      metrics.pinsPurged.inc({ why: how.isForRoom ? 'room' : 'asked' });
    onChange(is, was, how);
  }
}

/** The pin of each author. */
const eachAuthors = (stored: StoredPin | undefined): readonly Pin[] =>
  versionsOf(stored).map(({ pin }) => pin);

/** Stands for the pin of a file whose pins are void: nothing keeps it. */
function goneOf(pin: Pin): Pin {
  const { deletedAtMs: _, ...rest } = pin;
  return { ...rest, deleted: true };
}
