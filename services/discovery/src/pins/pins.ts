/**
 * The pins of the swarm, all of them on every member. A new one is on disk here before anybody hears
 * of it; then it is broadcast, and pushed to those we are connected to, because a broadcast may find a
 * mesh that is still forming. What a peer missed it gets by anti-entropy (`pin-sync.ts`).
 */
import assert from 'node:assert';
import type { Log } from '@shoal/chassis';
import {
  type Cid,
  FileGone,
  FileNotFound,
  type FileHash,
  type PeerId,
  type Pin,
  type PinDraft,
  type Problem,
  StorageFull,
} from '@shoal/protocol';
import {
  broughtBack,
  changedPin,
  comparePins,
  createPinDigest,
  futureOf,
  isDeletedForNow,
  isLive,
  mergePins,
  nextPin,
  type PinDigest,
  type PinEdit,
  type PinStamp,
  type PinMaker,
  purgedPin,
  tombstoneOf,
  undeletedPin,
} from '@shoal/swarm';
import type { AskAll } from '../network/ask.ts';
import { PINS_PER_MESSAGE_MAX } from '../network/messages.ts';
import type { Metrics } from '../metrics.ts';
import type { PageAsked, PinStore, Recoverable, StoredPin } from './pin-store.ts';
import type { OwnClock } from '../members/own-clock.ts';
import type { Refusals } from '../network/refusals.ts';
import { isAuthentic, peek, read, Signed, type Signer } from '../network/signed.ts';
import type { Wire } from '../network/wire.ts';

/** Longest search for a pin that is unknown here. */
const SEARCH_TIMEOUT_MS = 1500;
/** Longest wait of an upload for what the others know of its root, while we may not know all. */
const RECALL_TIMEOUT_MS = 500;

/**
 * What became of a pin that came in. `foreign`: it may be sound, and can't be read by this version.
 * `early`: it is dated too far ahead of a clock of which nobody knows whether it is right.
 */
export type Merged = 'news' | 'known' | 'refused' | 'foreign' | 'early';

interface SearchOptions {
  readonly signal: AbortSignal;
}

export interface Pins {
  readonly digest: PinDigest;
  /**
   * Makes a pin of a wish: signed, durable, on its way to all members.
   * @throws StorageFull, ClockWrong
   */
  put(draft: PinDraft): Promise<Pin>;
  /**
   * Changes the live pin of a file; the change is durable, and on its way to all members.
   * @throws FileNotFound, FileGone, StorageFull, ClockWrong
   */
  change(hash: FileHash, edit: PinEdit, options: SearchOptions): Promise<Pin>;
  /**
   * Deletes a file: the same, with a tombstone. `isForGood` purges it, also when it is deleted already.
   * @throws FileNotFound, FileGone, StorageFull, ClockWrong
   */
  remove(
    hash: FileHash,
    options: SearchOptions & { readonly isForGood: boolean },
  ): Promise<Pick<Recoverable, 'pin'> & Partial<Recoverable>>;
  /**
   * Brings a deleted file back: the same, with a pin as it was. A file that lives stays as it is.
   * @throws FileNotFound, FileGone when it was purged, StorageFull, ClockWrong
   */
  undelete(hash: FileHash, options: SearchOptions): Promise<Pin>;
  /**
   * Purges those of these files that are deleted; answers how many that were.
   * @throws ClockWrong
   */
  purgeForRoom(roots: readonly Cid[]): Promise<number>;
  /**
   * Takes in a pin that another peer sent; what is out of bounds is named in the log.
   * @throws StorageFull
   */
  merge(signed: Signed, from: PeerId): Promise<Merged>;
  /** The live pin of a file as known here. */
  find(hash: FileHash): Pin | undefined;
  /** The same, or that of a deleted file that can be brought back. */
  findAny(hash: FileHash): Pin | undefined;
  /** The same as it was signed, tombstones left out. */
  findSigned(hash: FileHash): Signed | undefined;
  /**
   * The live pin of a file; asks the other members when it is not known here. `orDeleted` takes that of
   * a deleted file that can be brought back, too.
   * @throws FileNotFound, FileGone
   */
  search(
    hash: FileHash,
    options: SearchOptions & { readonly ask: boolean; readonly orDeleted?: boolean },
  ): Promise<Pin>;
  /**
   * Live pins in the order of their roots, those that ended at most `endedForMs` ago, and with
   * `orDeleted` those of deleted files that can be brought back.
   */
  page(
    after: string,
    limit: number,
    options?: { readonly endedForMs?: number; readonly orDeleted?: boolean },
  ): { pins: Pin[]; next?: string };
  newest(page: PageAsked): { total: number; pins: Pin[]; next: string | undefined };
  /** Deleted files that can be brought back, the last one deleted first. */
  recoverable(page: PageAsked): { total: number; files: Recoverable[]; next: string | undefined };
  /** Roots of those, the one that is purged next first. */
  purgeable(limit: number): Cid[];
  /** Whether a stamp counts: none is from too far ahead, by a clock that is known to be right. */
  isCredible(stamp: PinStamp): boolean;
  /** Tells the metrics how many pins there are. */
  count(): void;
}

export function createPins(deps: {
  readonly self: PeerId;
  readonly store: PinStore;
  readonly signer: Signer;
  readonly wire: Wire;
  readonly ask: () => AskAll;
  /** Whether all that the members know is known here. */
  readonly isCurrent: () => boolean;
  readonly ownClock: OwnClock;
  /** Whether anything may be written here. @throws IdentityInUse */
  readonly checkName: () => void;
  readonly refusals: Refusals;
  /** How long a deleted file can be brought back. */
  readonly undeleteMs: number;
  /** `isForRoom`: it was purged since this peer needs its room. */
  readonly onChange: (pin: Pin, old: Pin | undefined, why: { readonly isForRoom: boolean }) => void;
  /** A pin of another peer is known, and could not be kept. */
  readonly onUnstored: () => void;
  readonly metrics: Metrics;
  readonly log: Log;
}): Pins {
  const { self, store, signer, wire, ownClock, refusals, undeleteMs, metrics, log } = deps;
  const digest = createPinDigest();
  for (const { pin } of store.after('')) digest.toggle(pin);

  const count = (): void => {
    const { live, recoverable, deleted } = store.counts();
    metrics.pins.set({ kind: 'live' }, live);
    metrics.pins.set({ kind: 'recoverable' }, recoverable);
    metrics.pins.set({ kind: 'deleted' }, deleted);
  };
  count();
  /** Only after a pin is on disk: what is kept in memory is never ahead of it. */
  const changed = (old: Pin | undefined, pin: Pin, isForRoom = false): void => {
    if (old !== undefined) digest.toggle(old);
    digest.toggle(pin);
    count();
    if (old !== undefined && isDeletedForNow(old) && pin.deleted && !isDeletedForNow(pin))
      metrics.pinsPurged.inc({ why: isForRoom ? 'room' : 'asked' });
    deps.onChange(pin, old, { isForRoom });
  };
  const spread = (signed: Signed): void => {
    // Who is connected is told below, and answers.
    if (!wire.engine().reachesAll()) wire.broadcast('pins', signed);
    for (const peerId of wire.engine().connected())
      wire.request(peerId, { kind: 'pins-put', pins: [signed] }).catch(() => {
        metrics.messages.inc({ kind: 'pins-put', outcome: 'failed' }); // anti-entropy brings it
      });
  };
  /**
   * What counts of a pin that is stored: one from before dates had a bound may be too far ahead, and then
   * anything wins over it. By a clock that may be wrong itself nothing is judged.
   */
  const isCredible = (stamp: Pick<Pin, 'epoch' | 'clock'>): boolean =>
    ownClock.verdict() !== 'right' || futureOf(stamp, Date.now()) === undefined;
  const standing = (pin: Pin | undefined): Pin | undefined =>
    pin !== undefined && isCredible(pin) ? pin : undefined;
  /**
   * Makes the pin that follows the one that stands, whatever came in before this moment; when `next`
   * answers the one that stands, nothing is made.
   */
  const make = async (
    root: Cid,
    next: (old: Pin | undefined, maker: PinMaker) => Pin,
    { isForRoom = false }: { readonly isForRoom?: boolean } = {},
  ): Promise<Pin> => {
    deps.checkName();
    ownClock.check();
    const { old, now } = await store.update(root, (stored) => {
      const stands = standing(stored?.pin);
      const pin = next(stands, { nowMs: Date.now(), origin: self });
      if (pin === stands) return undefined;
      return storedOf(pin, signer.sign('pin', pin), Date.now());
    });
    if (now === undefined) throw new Error('the pin was not stored');
    if (now === old) return now.pin;
    metrics.pinMerges.inc({ outcome: 'made' });
    changed(old?.pin, now.pin, isForRoom);
    spread(now.signed);
    return now.pin;
  };
  const makeOfLive = async (
    hash: FileHash,
    next: (live: Pin, maker: PinMaker) => Pin,
    { signal }: SearchOptions,
  ): Promise<Pin> => {
    const found = await search(hash, { ask: true, signal });
    return make(found.root, (stored, maker) => {
      const known = standing(found) ?? broughtBack(found, maker.nowMs);
      const pin = stored === undefined ? known : mergePins(stored, known);
      if (isLive(pin, maker.nowMs)) return next(pin, maker);
      throw goneAs(hash, pin, store.recoverable(pin.root)); // since it was found
    });
  };
  const refuse = (name: string | undefined, reason: string, from: PeerId): void => {
    metrics.pinMerges.inc({ outcome: 'refused' });
    refusals.note({ what: 'pin', from, name, reason });
  };
  /**
   * When a file was deleted, as far as can be told here. The date is by another peer's clock: nothing was
   * deleted after we heard of it, and what we hear while all else is known was deleted just now.
   */
  const seenAtMs = ({ deletedAtMs }: Pin): number =>
    deps.isCurrent() ? Date.now() : Math.min(deletedAtMs ?? Infinity, Date.now());
  const merge = async (signed: Signed, from: PeerId): Promise<Merged> => {
    const said = read('pin', signed);
    if (said.content === undefined) {
      metrics.pinMerges.inc({ outcome: 'malformed' });
      refusals.note({ what: 'pin', from, name: said.name, reason: said.reason });
      return said.isForeign ? 'foreign' : 'refused';
    }
    const pin = said.content;
    const isKnown = (stored: Pin | undefined): boolean => {
      const known = standing(stored);
      return known !== undefined && comparePins(pin, known) <= 0;
    };
    const stands = store.get(pin.root)?.pin;
    if (isKnown(stands) || (stands !== undefined && comparePins(pin, stands) === 0)) {
      metrics.pinMerges.inc({ outcome: 'known' });
      return 'known';
    }
    const future = futureOf(pin, Date.now());
    if (future !== undefined) {
      refuse(pin.root, future, from);
      return ownClock.verdict() === 'right' ? 'refused' : 'early';
    }
    if (!isAuthentic('pin', pin, signed)) {
      refuse(pin.root, 'signature: is not that of its origin', from);
      return 'refused';
    }
    let isNews = false;
    const stored = await store
      .update(pin.root, (now) => {
        isNews = !isKnown(now?.pin);
        return isNews ? storedOf(pin, signed, seenAtMs(pin)) : undefined;
      })
      .catch((error: unknown) => {
        deps.onUnstored();
        throw error;
      });
    metrics.pinMerges.inc({ outcome: isNews ? 'merged' : 'known' });
    if (isNews) changed(stored.old?.pin, pin);
    return isNews ? 'news' : 'known';
  };
  /** Learns what connected members know of a root, tombstones too; who does not answer is passed over. */
  const recall = async (root: Cid): Promise<void> => {
    const ask = async (peerId: PeerId): Promise<void> => {
      const { pins } = await wire.request(
        peerId,
        { kind: 'pins-get', roots: [root] },
        { timeoutMs: RECALL_TIMEOUT_MS },
      );
      for (const signed of pins) await merge(signed, peerId);
    };
    await Promise.allSettled(wire.engine().connected().map(ask));
  };
  /** All pins of a file, tombstones too, the latest first. */
  const pinsOf = (hash: FileHash) => {
    const roots: Cid[] = isCid(hash) ? [hash] : store.rootsBySha256(hash);
    return roots
      .map((root) => store.get(root))
      .filter((stored) => stored !== undefined)
      .toSorted((a, b) => b.pin.clock - a.pin.clock);
  };
  const findStored = (hash: FileHash) => {
    const nowMs = Date.now();
    return pinsOf(hash).find(({ pin }) => isLive(pin, nowMs));
  };
  const findRecoverable = (hash: FileHash): Recoverable | undefined =>
    pinsOf(hash)
      .map(({ pin }) => store.recoverable(pin.root))
      .find((found) => found !== undefined);
  const findAny = (hash: FileHash): Pin | undefined =>
    findStored(hash)?.pin ?? findRecoverable(hash)?.pin;
  const missing = (hash: FileHash, peersAsked: number, peersSilent = 0): Problem => {
    const found = findRecoverable(hash);
    const latest = found?.pin ?? pinsOf(hash)[0]?.pin;
    return latest === undefined
      ? new FileNotFound({ hash, peersAsked, ...(peersSilent === 0 ? {} : { peersSilent }) })
      : goneAs(hash, latest, found);
  };
  const search: Pins['search'] = async (hash, { ask, orDeleted = false, signal }) => {
    const known = orDeleted ? findAny(hash) : findStored(hash)?.pin;
    if (known !== undefined) return known;
    if (!ask) throw missing(hash, 0);
    const { asked, answers } = await deps.ask()(
      { kind: 'pin', hash },
      {
        timeoutMs: SEARCH_TIMEOUT_MS,
        isEnough: (given) => [...given.values()].some(({ pin }) => pin !== undefined),
        signal,
      },
    );
    const unstored: Pin[] = [];
    for (const [from, { pin }] of answers) {
      if (pin === undefined) continue;
      await merge(pin, from).catch((error: unknown) => {
        // A full disk is no reason not to read a file; `merge` throws it only for news, after the check.
        if (!(error instanceof StorageFull)) throw error;
        const news = peek('pin', pin);
        if (news !== undefined && isOf(hash, news) && isLive(news, Date.now())) unstored.push(news);
      });
    }
    const found = findStored(hash)?.pin ?? unstored.toSorted((a, b) => b.clock - a.clock)[0];
    if (found !== undefined) return found;
    throw missing(hash, asked, asked - answers.size);
  };

  wire.listen('pins', Signed, (from, signed) => {
    merge(signed, from).catch((err: unknown) => {
      // Anti-entropy brings it when there is room again.
      if (err instanceof StorageFull) log.warn({ err }, 'no room for a pin');
      else log.error({ err }, 'pin not stored');
    });
  });
  wire.handle('pins-put', async (from, { pins }) => {
    for (const signed of pins) await merge(signed, from);
    return {};
  });
  wire.handle('pins-get', (_, { roots }) => {
    const found = roots.slice(0, PINS_PER_MESSAGE_MAX).map((root) => store.get(root)?.signed);
    return { pins: found.filter((signed) => signed !== undefined) };
  });

  return {
    digest,
    merge,
    search,
    count,
    isCredible,
    find: (hash) => findStored(hash)?.pin,
    findAny,
    findSigned: (hash) => findStored(hash)?.signed,
    async put(draft) {
      deps.checkName();
      ownClock.check();
      // A tombstone that is unknown here would win over an upload made by a clock that is behind.
      if (!deps.isCurrent()) await recall(draft.root);
      return make(draft.root, (old, maker) => nextPin(draft, old, maker));
    },
    change: (hash, edit, options) =>
      makeOfLive(hash, (live, maker) => changedPin(live, edit, maker), options),
    async remove(hash, { isForGood, signal }) {
      deps.checkName(); // before it is looked for: who stands aside may not know it
      const isPurge = isForGood || undeleteMs === 0;
      try {
        const pin = await makeOfLive(hash, isPurge ? purgedPin : tombstoneOf, { signal });
        return { pin, ...store.recoverable(pin.root) };
      } catch (error) {
        const deleted = isForGood && error instanceof FileGone ? findRecoverable(hash) : undefined;
        if (deleted === undefined) throw error;
        const purge = (old: Pin | undefined, maker: PinMaker) =>
          purgedPin(old ?? deleted.pin, maker);
        return { pin: await make(deleted.pin.root, purge) };
      }
    },
    async undelete(hash, { signal }) {
      deps.checkName();
      if (pinsOf(hash).length === 0 && isCid(hash)) await recall(hash);
      signal.throwIfAborted();
      const root = findAny(hash)?.root;
      if (root === undefined) throw missing(hash, wire.engine().connected().length);
      return make(root, (old, maker) => {
        if (old !== undefined && isLive(old, maker.nowMs)) return old;
        if (old === undefined || store.recoverable(root) === undefined) throw missing(hash, 0);
        return undeletedPin(old, maker);
      });
    },
    async purgeForRoom(roots) {
      let purged = 0;
      for (const root of roots) {
        if (store.recoverable(root) === undefined) continue;
        const pin = await make(
          root,
          // What was brought back since it was chosen stays.
          (old, maker) => {
            assert(old !== undefined, 'a pin never goes');
            return store.recoverable(root) === undefined ? old : purgedPin(old, maker);
          },
          { isForRoom: true },
        );
        if (!pin.deleted) continue;
        log.warn({ cid: root }, 'deleted file purged: this peer needs its room');
        purged += 1;
      }
      return purged;
    },
    page(after, limit, { endedForMs = 0, orDeleted = false } = {}) {
      const pins: Pin[] = [];
      const nowMs = Date.now();
      for (const { pin, deletedSeenMs } of store.after(after)) {
        const isRecoverable = orDeleted && deletedSeenMs !== undefined;
        if (!isRecoverable && !isLive(pin, nowMs - endedForMs)) continue;
        if (pins.length === limit) return { pins, next: pins.at(-1)?.root ?? '' };
        pins.push(pin);
      }
      return { pins };
    },
    newest(page) {
      const nowMs = Date.now();
      const { roots, next } = store.newestRoots(page);
      const pins = roots
        .map((root) => store.get(root)?.pin)
        .filter((pin) => pin !== undefined)
        .filter((pin) => isLive(pin, nowMs)); // its end may have come since the last look
      return { total: store.counts().live, pins, next };
    },
    recoverable(page) {
      const { roots, next } = store.recoverableRoots(page);
      const files = roots
        .map((root) => store.recoverable(root))
        .filter((found) => found !== undefined);
      return { total: store.counts().recoverable, files, next };
    },
    purgeable: (limit) => store.purgeableRoots(limit),
  };
}

function goneAs(hash: FileHash, { deleted }: Pin, found: Recoverable | undefined): Problem {
  const until = found && { purgeAt: new Date(found.purgeAtMs).toISOString() };
  return new FileGone({ hash, why: deleted ? 'deleted' : 'expired', ...until });
}

/** A pin as it is stored; when it was deleted matters only to a file that can be brought back. */
const storedOf = (pin: Pin, signed: Signed, deletedSeenMs: number): StoredPin =>
  isDeletedForNow(pin) ? { pin, signed, deletedSeenMs } : { pin, signed };

const isOf = (hash: FileHash, { root, sha256 }: Pin) => hash === root || hash === sha256;

function isCid(hash: FileHash): hash is Cid {
  return hash.startsWith('b') && hash.length === 59;
}
