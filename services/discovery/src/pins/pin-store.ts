/**
 * The pins on disk, with the orders that they are looked up in.
 *
 * Listed are pins that are neither deleted nor past their end. An end comes by itself, so the pins
 * with one stand in a queue by their end; `turn` moves them out of the lists when it has come, and back
 * in when the wall clock turns out to have been ahead. Each of these steps is durable, so a restart
 * goes on where the last run stopped. The pins themselves stay: a peer that was away must learn of them.
 *
 * A deleted file that can be brought back stands in a queue too, by the time at which it is purged. That
 * time is this peer's own: from when it was deleted, as far as was seen here, for as long as its setting
 * says, and never past the end that the file had. What left the queue stays purged here, whatever becomes
 * of clock and setting: its bytes may be gone, and a pin that can't be followed would hold up every sweep.
 */
import { Cid, Pin, refusalOf, type Sha256 } from '@shoal/protocol';
import { isDeletedForNow, isLive, pinBucket, type PinStamp, stampOf } from '@shoal/swarm';
import type { Database, RootDatabase } from 'lmdb';
import type { StateRoom } from './room.ts';
import { peek, type Signed } from '../network/signed.ts';
import type { Transact } from './transact.ts';

/** Files looked at for one sha-256: the same bytes in several DAGs. */
const ROOTS_PER_SHA256_MAX = 100;
/** What the tables below are; older ones are rebuilt. */
const FORM = 5;
/** Pins that could not be kept are kept aside under this and their root, as they were signed. */
const REFUSED_KEY = 'refused-pin/';

export interface StoredPin {
  readonly pin: Pin;
  readonly signed: Signed;
  /** Only while its file is deleted and can be brought back: when it was deleted, as far as was seen here. */
  readonly deletedSeenMs?: number;
}

/** A deleted file that can be brought back. */
export interface Recoverable {
  readonly pin: Pin;
  readonly deletedAtMs: number;
  readonly purgeAtMs: number;
}

/** Part of a list: its begin, or what comes behind a cursor. */
export interface PageAsked {
  readonly limit: number;
  readonly after?: string | undefined;
}

export interface RootsPage {
  readonly roots: Cid[];
  /** Asks for what comes behind; undefined at the end. */
  readonly next: string | undefined;
}

export interface PinStore {
  get(root: Cid): StoredPin | undefined;
  /** Roots of all pins of a file, tombstones too. */
  rootsBySha256(sha256: Sha256): Cid[];
  /**
   * Reads and writes one pin with nothing in between; resolves when it is on disk. `next` answers the
   * pin to store, or undefined to leave what is there. A tombstone has room when others have none.
   * @throws StorageFull
   */
  update(
    root: Cid,
    next: (old: StoredPin | undefined) => StoredPin | undefined,
  ): Promise<{ old: StoredPin | undefined; now: StoredPin | undefined }>;
  /** Stamps of all pins of a bucket, tombstones too, in the order of their roots, after this root. */
  stampsIn(bucket: number, after: string): Iterable<PinStamp>;
  /** Pins, tombstones too, in the order of their roots, after this root. */
  after(root: string): Iterable<StoredPin>;
  /** Roots of listed pins, the newest first. */
  newestRoots(page: PageAsked): RootsPage;
  /** The deleted file that is there to be brought back; undefined for any other pin. */
  recoverable(root: Cid): Recoverable | undefined;
  /** Roots of those, the one that is purged next first. */
  purgeableRoots(limit: number): Cid[];
  /** The same, the one that was deleted last first. */
  recoverableRoots(page: PageAsked): RootsPage;
  /** `deleted` are those that can't be brought back. */
  counts(): { readonly live: number; readonly recoverable: number; readonly deleted: number };
  /**
   * Brings at most `limit` pins into or out of the lists as the wall clock says, and purges what is due.
   * @throws StorageFull
   */
  turn(limit: number): Promise<{
    readonly ended: readonly Pin[];
    readonly resumed: readonly Pin[];
    readonly purged: readonly Pin[];
  }>;
}

/** A time and a root: ordered by time. */
type TimeKey = [number, string];

export function openPinStore(deps: {
  readonly env: RootDatabase;
  readonly meta: Database<unknown, string>;
  readonly transact: Transact;
  readonly room: StateRoom;
  /** Wall clock. */
  readonly nowMs: () => number;
  /** How long a deleted file can be brought back. */
  readonly undeleteMs: number;
  /** A pin from before its fields had bounds is out of them: it is left out, and kept aside. */
  readonly onRefused: (root: string, reason: string) => void;
}): PinStore {
  const { env, meta, transact, room, nowMs, undeleteMs, onRefused } = deps;
  const pins = env.openDB<StoredPin, string>({ name: 'pins', encoding: 'json' });
  const stamps = env.openDB<PinStamp, TimeKey>({ name: 'pin-stamps', encoding: 'json' });
  const byTime = env.openDB<true, TimeKey>({ name: 'pins-by-time' });
  const bySha256 = env.openDB<true, [string, string]>({ name: 'pins-by-sha256' });
  /** Listed pins that will end, and pins that ended, by their end. */
  const ending = env.openDB<true, TimeKey>({ name: 'pins-ending' });
  const ended = env.openDB<true, TimeKey>({ name: 'pins-ended' });

  /** Deleted files that can be brought back, by the time at which they are purged. */
  const purging = env.openDB<true, TimeKey>({ name: 'pins-purging' });

  const purgeAtOf = ({ pin, deletedSeenMs }: StoredPin): number | undefined =>
    deletedSeenMs === undefined || !isDeletedForNow(pin)
      ? undefined
      : Math.min(deletedSeenMs + undeleteMs, pin.expiresAtMs ?? Infinity);
  // These run inside a transaction, where puts and removals take effect at once.
  const list = ({ createdAtMs, root, expiresAtMs }: Pin): void => {
    void byTime.put([createdAtMs, root], true);
    if (expiresAtMs !== undefined) void ending.put([expiresAtMs, root], true);
  };
  const takeOut = (stored: StoredPin): void => {
    const { createdAtMs, sha256, root, expiresAtMs } = stored.pin;
    const purgeAtMs = purgeAtOf(stored);
    if (purgeAtMs !== undefined) void purging.remove([purgeAtMs, root]);
    void byTime.remove([createdAtMs, root]);
    if (sha256 !== undefined) void bySha256.remove([sha256, root]);
    if (expiresAtMs === undefined) return;
    void ending.remove([expiresAtMs, root]);
    void ended.remove([expiresAtMs, root]);
  };
  /** Answers what it put: a file whose time to be purged has come is not kept any more. */
  const putIn = (stored: StoredPin): void => {
    const { pin, signed } = stored;
    const purgeAtMs = purgeAtOf(stored);
    if (purgeAtMs !== undefined && purgeAtMs > nowMs()) {
      void purging.put([purgeAtMs, pin.root], true);
      void pins.put(pin.root, stored);
    } else void pins.put(pin.root, { pin, signed });
    void stamps.put([pinBucket(pin.root), pin.root], stampOf(pin));
    if (pin.sha256 !== undefined) void bySha256.put([pin.sha256, pin.root], true);
    if (isLive(pin, nowMs())) return list(pin);
    if (!pin.deleted && pin.expiresAtMs !== undefined)
      void ended.put([pin.expiresAtMs, pin.root], true);
  };
  const rebuild = ({ isOldForm }: { readonly isOldForm: boolean }): void => {
    // No cursor stays open over what is written.
    for (const table of [stamps, byTime, bySha256, ending, ended, purging]) table.clearSync();
    const all = [...pins.getRange({})];
    for (const { key, value } of all) {
      const { data: pin, error } = Pin.safeParse(value.pin);
      if (pin === undefined) {
        onRefused(key, refusalOf(error));
        void meta.put(REFUSED_KEY + key, value);
        void pins.remove(key);
        continue;
      }
      putIn(isOldForm ? reread({ pin, signed: value.signed }) : { ...value, pin });
    }
    void meta.put('pins-form', FORM);
    void meta.put('undelete-ms', undeleteMs);
  };
  /** An earlier version that met tombstones of a later one left out what it did not know. */
  const reread = (stored: StoredPin): StoredPin => {
    const said = stored.pin.deleted ? peek('pin', stored.signed) : undefined;
    if (said?.root !== stored.pin.root || said.deletedAtMs === undefined) return stored;
    return { ...stored, pin: said, deletedSeenMs: Math.min(said.deletedAtMs, nowMs()) };
  };
  const isOldForm = meta.get('pins-form') !== FORM;
  if (isOldForm || meta.get('undelete-ms') !== undeleteMs)
    env.transactionSync(() => rebuild({ isOldForm }));

  const endedBy = (atMs: number, limit: number) => [
    ...ending.getKeys({ end: [atMs + 1, ''], limit }),
  ];
  const notEndedBy = (atMs: number, limit: number) => [
    ...ended.getKeys({ start: [atMs + 1, ''], limit }),
  ];
  const purgedBy = (atMs: number, limit: number) => [
    ...purging.getKeys({ end: [atMs + 1, ''], limit }),
  ];
  const storedAt = ([, root]: TimeKey): StoredPin => {
    const stored = pins.get(root);
    if (stored === undefined) throw new Error(`${root} has an end, but there is no such pin`);
    return stored;
  };

  return {
    get: (root) => pins.get(root),
    rootsBySha256: (sha256) =>
      [
        ...bySha256.getKeys({
          start: [sha256, ''],
          end: [sha256, '~'],
          limit: ROOTS_PER_SHA256_MAX,
        }),
      ].map(([, root]) => Cid.parse(root)),
    update: (root, next) =>
      transact(() => {
        const old = pins.get(root);
        const now = next(old);
        if (now === undefined) return { old, now: old };
        if (!now.pin.deleted) room.check();
        if (old !== undefined) takeOut(old);
        putIn(now);
        return { old, now };
      }),
    *stampsIn(bucket, after) {
      const start: TimeKey = [bucket, after];
      const end: TimeKey = [bucket, '~'];
      for (const { value } of stamps.getRange({ start, end }))
        if (value.root !== after) yield value;
    },
    *after(root) {
      for (const { key, value } of pins.getRange(root === '' ? {} : { start: root }))
        if (key !== root) yield value;
    },
    newestRoots: (page) => readPage(byTime, page),
    recoverable(root) {
      const stored = pins.get(root);
      const { deletedSeenMs: deletedAtMs } = stored ?? {};
      const purgeAtMs = stored === undefined ? undefined : purgeAtOf(stored);
      if (stored === undefined || deletedAtMs === undefined || purgeAtMs === undefined)
        return undefined;
      return { pin: stored.pin, deletedAtMs, purgeAtMs };
    },
    purgeableRoots: (limit) => [...purging.getKeys({ limit })].map(([, root]) => Cid.parse(root)),
    recoverableRoots: (page) => readPage(purging, page),
    counts() {
      const [live, recoverable] = [countOf(byTime), countOf(purging)];
      return { live, recoverable, deleted: countOf(pins) - live - countOf(ended) - recoverable };
    },
    async turn(limit) {
      const atMs = nowMs();
      const due = [endedBy(atMs, 1), notEndedBy(atMs, 1), purgedBy(atMs, 1)];
      if (due.every(({ length }) => length === 0)) return { ended: [], resumed: [], purged: [] };
      return transact(() => {
        const over = endedBy(atMs, limit).map(storedAt);
        const back = notEndedBy(atMs, limit).map(storedAt);
        const purged = purgedBy(atMs, limit).map(storedAt);
        for (const stored of [...over, ...back, ...purged]) {
          takeOut(stored);
          putIn(stored);
        }
        return { ended: pinsOf(over), resumed: pinsOf(back), purged: pinsOf(purged) };
      });
    },
  };
}

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
    roots: page.map(([, root]) => Cid.parse(root)),
    next: end === undefined || behind.length <= limit ? undefined : end.join('.'),
  };
}

function keyOf(cursor: string): TimeKey {
  const dot = cursor.indexOf('.');
  return [Number(cursor.slice(0, dot)), cursor.slice(dot + 1)];
}

const pinsOf = (stored: readonly StoredPin[]): Pin[] => stored.map(({ pin }) => pin);

/** Entries of a table, from its header: `getCount` would walk over all of them. */
function countOf(table: Database<unknown, TimeKey> | Database<StoredPin, string>): number {
  // The declared type is empty; `entryCount` is of LMDB's own `MDB_stat`.
  return (table.getStats() as { entryCount: number }).entryCount;
}
