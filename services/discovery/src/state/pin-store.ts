/**
 * The pins on disk, with the orders in which they are looked up.
 *
 * Pins are listed while they are neither deleted nor past their end. An end comes by itself, so the pins
 * with one are queued by their end; `turn` moves them out of the lists when it has come, and back
 * in when the wall clock turns out to have been ahead. Each of these steps is durable, so a restart
 * resumes where the last run stopped. The pins themselves stay: a peer that was away must learn of them.
 *
 * A deleted file that can be brought back is queued too, by the time at which it is purged. That
 * time is this peer's own: it counts from when the file was deleted, as far as was seen here, for as long as
 * the setting says, and never past the end that the file had. A file that left the queue stays purged here, even if
 * clock or setting change: its bytes may be gone, and a pin that can't be followed would hold up every sweep.
 */
import assert from 'node:assert';
import type { Cid, Pin, Sha256 } from '@shoal/protocol';
import { isDeletedForNow, type PinStamp } from '@shoal/swarm';
import type { Database } from 'lmdb';
import type { SignedPin } from '../network/signed.ts';
import {
  PinTables,
  type PinVersion,
  rootOf,
  type StoredPin,
  type TimeKey,
  versionsOf,
} from './pin-tables.ts';
import { type RebuildDeps, rebuildPins } from './rebuild-pins.ts';
import type { StateRoom } from './room.ts';
import type { Transact } from './transact.ts';

/** Files looked at for one sha-256: the same bytes in several DAGs. */
const ROOTS_PER_SHA256_MAX = 100;

/** The key of the rules that all pins were read by. */
const READ_BY_KEY = 'pins-read-by';

/** A deleted file that can be brought back. */
export interface Recoverable {
  readonly pin: Pin;
  readonly deletedAtMs: number;
  readonly purgeAtMs: number;
}

/** Part of a list: its beginning, or what comes after a cursor. */
export interface PageAsked {
  readonly limit: number;
  readonly after?: string | undefined;
}

export interface RootsPage {
  readonly roots: Cid[];
  /** The cursor of the next page; undefined at the end. */
  readonly next: string | undefined;
}

/** The pins of a root before and after a change. */
export interface PinUpdate {
  readonly old: StoredPin | undefined;
  readonly now: StoredPin | undefined;
}

/** A version that is not signed yet. */
export type MadeVersion = Pick<PinVersion, 'pin'> & Partial<PinVersion>;

/** A change of what is kept of a root: from the versions that there are to those that there shall be; undefined to leave them. */
export interface PinUpdateWish {
  readonly root: Cid;
  readonly next: (versions: readonly MadeVersion[]) => readonly MadeVersion[] | undefined;
}

export interface PinUpdateDeps {
  /** Signs what the changes made, all at once. */
  readonly seal: (made: readonly Pin[]) => readonly SignedPin[];
  /** The stored form of these versions; undefined when none is left. */
  readonly form: (
    versions: readonly PinVersion[],
    old: StoredPin | undefined,
  ) => StoredPin | undefined;
}

export interface PinStoreDeps extends RebuildDeps {
  readonly transact: Transact;
  readonly room: StateRoom;
  /** Wall clock. */
  readonly nowMs: () => number;
}

export function openPinStore(deps: PinStoreDeps): PinStore {
  const tables = new PinTables(deps.env, deps.undeleteMs);
  rebuildPins(tables, deps, deps.nowMs());
  return new PinStore(tables, deps);
}

export class PinStore {
  readonly #tables: PinTables;
  readonly #deps: Pick<PinStoreDeps, 'transact' | 'room' | 'nowMs' | 'meta'>;

  constructor(tables: PinTables, deps: Pick<PinStoreDeps, 'transact' | 'room' | 'nowMs' | 'meta'>) {
    this.#tables = tables;
    this.#deps = deps;
  }

  get(root: Cid): StoredPin | undefined {
    return this.#tables.pins.get(root);
  }

  /** Roots of all pins of a file, tombstones too. */
  rootsBySha256(sha256: Sha256): Cid[] {
    const keys = this.#tables.bySha256.getKeys({
      start: [sha256, ''],
      end: [sha256, '~'],
      limit: ROOTS_PER_SHA256_MAX,
    });
    return [...keys].map(rootOf);
  }

  /** Stamps of all pins of a bucket, tombstones too, in the order of their roots, after this root. */
  *stampsIn(bucket: number, after: string): Generator<PinStamp> {
    const start: TimeKey = [bucket, after];
    const end: TimeKey = [bucket, '~'];
    for (const { value } of this.#tables.stamps.getRange({ start, end }))
      for (const stamp of 'root' in value ? [value] : value) if (stamp.root !== after) yield stamp;
  }

  /** Pins, tombstones too, in the order of their roots, after this root. */
  *after(root: string): Generator<StoredPin> {
    for (const { key, value } of this.#tables.pins.getRange(root === '' ? {} : { start: root }))
      if (key !== root) yield value;
  }

  /** Roots of listed pins, the newest first. */
  newestRoots(page: PageAsked): RootsPage {
    return readPage(this.#tables.byTime, page);
  }

  /** Roots of deleted files that can be brought back, the last one deleted first. */
  recoverableRoots(page: PageAsked): RootsPage {
    return readPage(this.#tables.purging, page);
  }

  /** Roots of those, the one that is purged next first. */
  purgeableRoots(limit: number): Cid[] {
    return [...this.#tables.purging.getKeys({ limit })].map(rootOf);
  }

  /** The deleted file, if it can be brought back; undefined for any other pin. */
  recoverable(root: Cid): Recoverable | undefined {
    const stored = this.get(root);
    const { deletedSeenMs: deletedAtMs } = stored ?? {};
    const purgeAtMs = stored === undefined ? undefined : this.#tables.purgeAtOf(stored);
    if (stored === undefined || deletedAtMs === undefined || purgeAtMs === undefined)
      return undefined;
    return { pin: stored.pin, deletedAtMs, purgeAtMs };
  }

  /** `deleted` are those that can't be brought back. */
  counts(): { readonly live: number; readonly recoverable: number; readonly deleted: number } {
    return this.#tables.counts();
  }

  /**
   * Replaces what is stored of a root, with nothing in between; resolves when it is on disk. `next` returns what to
   * store, or undefined to leave what is there. A tombstone has room when others have none.
   * @throws StorageFull, and what `next` throws
   */
  async update(
    root: Cid,
    next: (old: StoredPin | undefined) => StoredPin | undefined,
  ): Promise<PinUpdate> {
    return this.#deps.transact(() => {
      const old = this.get(root);
      const now = next(old);
      if (now === undefined) return { old, now: old };
      if (!now.pin.deleted) this.#deps.room.check();
      return this.#replace(root, old, now);
    });
  }

  /**
   * Changes what is kept of several roots, in their order and in one transaction: all of them or none.
   * @throws StorageFull, and what `next` throws
   */
  updateAll(
    changes: readonly PinUpdateWish[],
    { seal, form }: PinUpdateDeps,
  ): Promise<PinUpdate[]> {
    return this.#deps.transact(() => {
      // All are decided before the first write, as what was written before an error stays.
      const current = new Map(changes.map(({ root }) => [root, this.get(root)]));
      const latest = new Map<Cid, readonly MadeVersion[]>(
        [...current].map(([root, stored]) => [root, versionsOf(stored)]),
      );
      const decided = changes.map(({ root, next }) => {
        const before = latest.get(root) ?? [];
        const made = next(before);
        if (made === undefined) return undefined;
        const isGrowth = made.some((each) => !each.pin.deleted && !before.includes(each));
        if (isGrowth) this.#deps.room.check();
        latest.set(root, made);
        return made;
      });
      const signedOf = sealAll(decided, seal);
      return changes.map(({ root }, at) => {
        const old = current.get(root);
        const versions = decided[at];
        if (versions === undefined) return { old, now: old };
        const now = form(
          versions.map(({ pin, signed = signedOf.get(pin) }) => {
            assert(signed !== undefined, 'a version that was made is signed');
            return { pin, signed };
          }),
          old,
        );
        current.set(root, now);
        return this.#replace(root, old, now);
      });
    });
  }

  /** Purges a deleted file here, whatever the other members do; returns whether it was to be had. */
  async purgeHere(root: Cid): Promise<boolean> {
    const { old, now } = await this.update(root, (stored) => {
      if (stored === undefined || this.recoverable(root) === undefined) return undefined;
      const { deletedSeenMs: _, ...purged } = stored;
      return purged;
    });
    return old !== now;
  }

  /** The rules by which all pins were read last; undefined when they were those of a swarm without a roster. */
  readBy(): string | undefined {
    const text = this.#deps.meta.get(READ_BY_KEY);
    return typeof text === 'string' ? text : undefined;
  }

  /** @throws StorageFull */
  async setReadBy(rules: string): Promise<void> {
    await this.#deps.transact(() => void this.#deps.meta.put(READ_BY_KEY, rules));
  }

  #replace(root: Cid, old: StoredPin | undefined, now: StoredPin | undefined): PinUpdate {
    if (now === undefined) {
      if (old !== undefined) this.#tables.forget(old);
      return { old, now };
    }
    checkStored(now, root);
    if (old !== undefined) this.#tables.takeOut(old);
    this.#tables.put(now, this.#deps.nowMs());
    return { old, now };
  }

  /**
   * Brings at most `limit` pins each into or out of the lists as the wall clock says, and purges what is due.
   * @throws StorageFull
   */
  async turn(limit: number): Promise<{
    readonly ended: readonly Pin[];
    readonly resumed: readonly Pin[];
    readonly purged: readonly Pin[];
  }> {
    assert(limit > 0, 'a turn moves something');
    const atMs = this.#deps.nowMs();
    if (!this.#isDue(atMs)) return { ended: [], resumed: [], purged: [] };
    const { ending, ended, purging } = this.#tables;
    return this.#deps.transact(() => ({
      ended: this.#move(ending, upTo(atMs, limit), atMs),
      resumed: this.#move(ended, past(atMs, limit), atMs),
      purged: this.#move(purging, upTo(atMs, limit), atMs),
    }));
  }

  #isDue(atMs: number): boolean {
    const { ending, ended, purging } = this.#tables;
    const [before, behind] = [upTo(atMs, 1), past(atMs, 1)];
    return [ending.getKeys(before), ended.getKeys(behind), purging.getKeys(before)].some(
      (keys) => [...keys].length > 0,
    );
  }

  /** Takes pins out of a queue, and puts them where they belong at this time. */
  #move(queue: Database<true, TimeKey>, range: KeyRange, atMs: number): Pin[] {
    const keys = [...queue.getKeys(range)]; // no cursor stays open over what is written
    return keys.map((key) => {
      const [, root] = key;
      const stored = this.#tables.pins.get(root);
      assert(stored !== undefined, `${root} is queued, but there is no such pin`);
      this.#tables.takeOut(stored);
      this.#tables.put(stored, atMs);
      // Or the next turns would find it again, without end.
      assert(!queue.doesExist(key), `${root} was moved, but is still queued`);
      return stored.pin;
    });
  }
}

/** The signatures of versions that have none yet, by their pins. */
function sealAll(
  decided: readonly (readonly MadeVersion[] | undefined)[],
  seal: PinUpdateDeps['seal'],
): Map<Pin, SignedPin> {
  const made = new Set<Pin>();
  for (const versions of decided)
    for (const { pin, signed } of versions ?? []) if (signed === undefined) made.add(pin);
  const pins = [...made];
  const sealed = pins.length === 0 ? [] : seal(pins);
  return new Map(
    pins.flatMap((pin, at) => {
      const signed = sealed[at];
      return signed === undefined ? [] : [[pin, signed]];
    }),
  );
}

function checkStored(stored: StoredPin, root: Cid): void {
  assert(
    versionsOf(stored).every(({ pin }) => pin.root === root),
    'a pin is replaced by one of its own root',
  );
  assert(
    stored.deletedSeenMs === undefined || isDeletedForNow(stored.pin),
    'only a file that can be brought back has a time at which it was deleted',
  );
}

type KeyRange = { readonly start?: TimeKey; readonly end?: TimeKey; readonly limit: number };

/** The first keys at or before a time. */
const upTo = (atMs: number, limit: number): KeyRange => ({ end: [atMs + 1, ''], limit });
/** The first keys after a time. */
const past = (atMs: number, limit: number): KeyRange => ({ start: [atMs + 1, ''], limit });

/** The last first. A cursor names the last key that was given, whether or not it is still there. */
function readPage(table: Database<true, TimeKey>, { limit, after }: PageAsked): RootsPage {
  const last = after === undefined ? undefined : keyOf(after);
  const from = last === undefined ? {} : { start: last };
  const isLast = ([atMs, root]: TimeKey) => atMs === last?.[0] && root === last[1];
  const keys = [...table.getKeys({ reverse: true, limit: limit + 2, ...from })]; // the last one, and one more
  const behind = keys.filter((key) => !isLast(key));
  const page = behind.slice(0, limit);
  const end = page.at(-1);
  return {
    roots: page.map(rootOf),
    next: end === undefined || behind.length <= limit ? undefined : end.join('.'),
  };
}

function keyOf(cursor: string): TimeKey {
  const dot = cursor.indexOf('.');
  return [Number(cursor.slice(0, dot)), cursor.slice(dot + 1)];
}
