/**
 * The pins in LMDB: one table of the pins themselves, and one for each order in which they are looked up. A
 * pin is live, ended, recoverable or deleted, and its state decides which orders it is in.
 */
import { Cid, type Pin } from '@shoal/protocol';
import {
  isDeletedForNow,
  isLive,
  pinBucket,
  type PinStamp,
  stampAmong,
  stampOf,
} from '@shoal/swarm';
import type { Database, RootDatabase } from 'lmdb';
import type { SignedPin } from '../network/signed.ts';

/** A version of a pin, and the text of it that was signed. */
export interface PinVersion {
  readonly pin: Pin;
  readonly signed: SignedPin;
}

/** The pins of a root, as they are stored. */
export interface StoredPin extends PinVersion {
  /** Only while its file is deleted and can be brought back: when it was deleted, as far as was seen here. */
  readonly deletedSeenMs?: number;
  /**
   * All versions of the root, where `pin` is what they amount to (`swarm/pin-entries.ts`), and `signed` that of which
   * most is. Absent: there is no version but this.
   */
  readonly versions?: readonly PinVersion[];
}

/** @param stored Undefined when nothing is. */
export const versionsOf = (stored: StoredPin | undefined): readonly PinVersion[] =>
  stored === undefined ? [] : (stored.versions ?? [stored]);

export const stampsOf = ({ pin, versions }: StoredPin): readonly PinStamp[] =>
  versions === undefined ? [stampOf(pin)] : versions.map((version) => stampAmong(version.pin));

/** A time and a root: ordered by time. */
export type TimeKey = [number, string];

/** `deleted` for those that can't be brought back. */
type PinState = 'live' | 'ended' | 'recoverable' | 'deleted';

/** Writes only inside a transaction, where puts and removals take effect at once. */
export class PinTables {
  readonly pins: Database<StoredPin, string>;
  /** By bucket and root. */
  readonly stamps: Database<PinStamp | readonly PinStamp[], TimeKey>;
  readonly bySha256: Database<true, [string, string]>;
  /** Live pins, by their date. */
  readonly byTime: Database<true, TimeKey>;
  /** Live pins that will end, by their end. */
  readonly ending: Database<true, TimeKey>;
  /** Pins that ended, by their end. */
  readonly ended: Database<true, TimeKey>;
  /** Deleted files that can be brought back, by the time at which they are purged. */
  readonly purging: Database<true, TimeKey>;
  readonly #undeleteMs: number;

  /** @param undeleteMs How long a deleted file can be brought back. */
  constructor(env: RootDatabase, undeleteMs: number) {
    this.pins = env.openDB({ name: 'pins', encoding: 'json' });
    this.stamps = env.openDB({ name: 'pin-stamps', encoding: 'json' });
    this.bySha256 = env.openDB({ name: 'pins-by-sha256' });
    this.byTime = env.openDB({ name: 'pins-by-time' });
    this.ending = env.openDB({ name: 'pins-ending' });
    this.ended = env.openDB({ name: 'pins-ended' });
    this.purging = env.openDB({ name: 'pins-purging' });
    this.#undeleteMs = undeleteMs;
  }

  /** When a deleted file is purged; undefined for one that can't be brought back, or is not deleted. */
  purgeAtOf({ pin, deletedSeenMs }: StoredPin): number | undefined {
    return deletedSeenMs === undefined || !isDeletedForNow(pin)
      ? undefined
      : Math.min(deletedSeenMs + this.#undeleteMs, pin.expiresAtMs ?? Infinity);
  }

  /** Puts a pin into the orders of the state that it is in at this time. */
  put(stored: StoredPin, atMs: number): void {
    const { pin, deletedSeenMs: _, ...others } = stored;
    const { root, sha256, createdAtMs, expiresAtMs } = pin;
    const state = this.#stateOf(stored, atMs);
    const purgeAtMs = this.purgeAtOf(stored);
    // A file that is purged, or due for it, stays purged, even if clock or setting change.
    void this.pins.put(root, state === 'recoverable' ? stored : { pin, ...others });
    const stamps = stampsOf(stored);
    const [only] = stamps;
    const isOne = stored.versions === undefined && only !== undefined;
    void this.stamps.put([pinBucket(root), root], isOne ? only : stamps);
    if (sha256 !== undefined) void this.bySha256.put([sha256, root], true);
    if (state === 'live') void this.byTime.put([createdAtMs, root], true);
    if (state === 'live' && expiresAtMs !== undefined)
      void this.ending.put([expiresAtMs, root], true);
    if (state === 'ended' && expiresAtMs !== undefined)
      void this.ended.put([expiresAtMs, root], true);
    if (state === 'recoverable' && purgeAtMs !== undefined)
      void this.purging.put([purgeAtMs, root], true);
  }

  /** Takes a pin out of all orders, whatever its state was when it was put in. */
  takeOut(stored: StoredPin): void {
    const { createdAtMs, sha256, root, expiresAtMs } = stored.pin;
    const purgeAtMs = this.purgeAtOf(stored);
    if (purgeAtMs !== undefined) void this.purging.remove([purgeAtMs, root]);
    void this.byTime.remove([createdAtMs, root]);
    if (sha256 !== undefined) void this.bySha256.remove([sha256, root]);
    if (expiresAtMs === undefined) return;
    void this.ending.remove([expiresAtMs, root]);
    void this.ended.remove([expiresAtMs, root]);
  }

  /** Forgets a root. */
  forget(stored: StoredPin): void {
    const { root } = stored.pin;
    this.takeOut(stored);
    void this.pins.remove(root);
    void this.stamps.remove([pinBucket(root), root]);
  }

  /** Empties all orders; the pins stay. */
  clearOrders(): void {
    const { stamps, bySha256, byTime, ending, ended, purging } = this;
    for (const table of [stamps, bySha256, byTime, ending, ended, purging]) table.clearSync();
  }

  counts(): { readonly live: number; readonly recoverable: number; readonly deleted: number } {
    const [live, recoverable] = [countOf(this.byTime), countOf(this.purging)];
    const deleted = countOf(this.pins) - live - countOf(this.ended) - recoverable;
    return { live, recoverable, deleted };
  }

  #stateOf(stored: StoredPin, atMs: number): PinState {
    const { pin } = stored;
    if (pin.deleted)
      return (this.purgeAtOf(stored) ?? -Infinity) > atMs ? 'recoverable' : 'deleted';
    return isLive(pin, atMs) ? 'live' : 'ended';
  }
}

export const rootOf = ([, root]: TimeKey | [string, string]): Cid => Cid.parse(root);

/** Entries of a table, from its header: `getCount` would walk over all of them. */
function countOf(table: Database<unknown, TimeKey> | Database<StoredPin, string>): number {
  // The declared type is empty; `entryCount` is of LMDB's own `MDB_stat`.
  return (table.getStats() as { entryCount: number }).entryCount;
}
