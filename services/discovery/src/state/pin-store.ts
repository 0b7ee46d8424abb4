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
import { PinTables, rootOf, type StoredPin, type TimeKey } from './pin-tables.ts';
import { type RebuildDeps, rebuildPins } from './rebuild-pins.ts';
import type { StateRoom } from './room.ts';
import type { Transact } from './transact.ts';

/** Files looked at for one sha-256: the same bytes in several DAGs. */
const ROOTS_PER_SHA256_MAX = 100;

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

/** The pin of a root before and after a change. */
export interface PinUpdate {
  readonly old: StoredPin | undefined;
  readonly now: StoredPin | undefined;
}

/** A change of the pin of a root: makes the new one from the current one, or undefined to leave that. */
export interface PinUpdateWish<T extends Pick<StoredPin, 'pin'>> {
  readonly root: Cid;
  readonly next: (old: Pin | undefined) => T | undefined;
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
  readonly #deps: Pick<PinStoreDeps, 'transact' | 'room' | 'nowMs'>;

  constructor(tables: PinTables, deps: Pick<PinStoreDeps, 'transact' | 'room' | 'nowMs'>) {
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
      if (value.root !== after) yield value;
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
   * Reads and writes one pin with nothing in between; resolves when it is on disk. `next` returns the
   * pin to store, or undefined to leave what is there. A tombstone has room when others have none.
   * @throws StorageFull, and what `next` throws
   */
  async update(root: Cid, next: PinUpdateWish<StoredPin>['next']): Promise<PinUpdate> {
    const [update] = await this.updateAll([{ root, next }], (made) => made);
    assert(update !== undefined, 'a change has one outcome');
    return update;
  }

  /**
   * The same of several, in their order and in one transaction: all of them or none. `seal` makes what is stored of
   * what the changes made.
   */
  updateAll<T extends Pick<StoredPin, 'pin'>>(
    changes: readonly PinUpdateWish<T>[],
    seal: (made: readonly T[]) => readonly StoredPin[],
  ): Promise<PinUpdate[]> {
    const { transact, nowMs } = this.#deps;
    return transact(() => {
      // All are decided before the first write, as what was written before an error stays.
      const current = new Map(changes.map(({ root }) => [root, this.get(root)]));
      const latest = new Map([...current].map(([root, stored]) => [root, stored?.pin]));
      const decided = changes.map(({ root, next }) => {
        const made = this.#decide(root, latest.get(root), next);
        if (made !== undefined) latest.set(root, made.pin);
        return made;
      });
      const sealed = seal(decided.filter((made) => made !== undefined))[Symbol.iterator]();
      return changes
        .map(({ root }, at) => ({
          root,
          now: decided[at] === undefined ? undefined : checkStored(sealed.next().value, root),
        }))
        .map(({ root, now }) => {
          const old = current.get(root);
          if (now === undefined) return { old, now: old };
          if (old !== undefined) this.#tables.takeOut(old);
          this.#tables.put(now, nowMs());
          current.set(root, now);
          return { old, now };
        });
    });
  }

  #decide<T extends Pick<StoredPin, 'pin'>>(
    root: Cid,
    old: Pin | undefined,
    next: PinUpdateWish<T>['next'],
  ): T | undefined {
    assert(old === undefined || old.root === root, 'a pin is stored under its own root');
    const made = next(old);
    if (made !== undefined && !made.pin.deleted) this.#deps.room.check();
    return made;
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

function checkStored(stored: StoredPin | undefined, root: Cid): StoredPin {
  assert(stored?.pin.root === root, 'a pin is replaced by one of its own root');
  assert(
    stored.deletedSeenMs === undefined || isDeletedForNow(stored.pin),
    'only a file that can be brought back has a time at which it was deleted',
  );
  return stored;
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
