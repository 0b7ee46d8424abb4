/**
 * The pins on disk, with the orders that they are looked up in.
 *
 * Listed are pins that are neither deleted nor past their end. An end comes by itself, so the pins
 * with one stand in a queue by their end; `turn` moves them out of the lists when it has come, and back
 * in when the wall clock turns out to have been ahead. Each of these steps is durable, so a restart
 * goes on where the last run stopped. The pins themselves stay: a peer that was away must learn of them.
 */
import { Cid, Pin, refusalOf, type Sha256 } from '@shoal/protocol';
import { isLive, pinBucket, type PinStamp, stampOf } from '@shoal/swarm';
import type { Database, RootDatabase } from 'lmdb';
import type { StateRoom } from './room.ts';
import type { Signed } from './signed.ts';
import type { Transact } from './transact.ts';

/** Files looked at for one sha-256: the same bytes in several DAGs. */
const ROOTS_PER_SHA256_MAX = 100;
/** What the tables below are; older ones are rebuilt. */
const FORM = 4;
/** Pins that could not be kept are kept aside under this and their root, as they were signed. */
const REFUSED_KEY = 'refused-pin/';

export interface StoredPin {
  readonly pin: Pin;
  readonly signed: Signed;
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
  newestRoots(offset: number, limit: number): Cid[];
  counts(): { readonly live: number; readonly deleted: number };
  /**
   * Brings at most `limit` pins into or out of the lists as the wall clock says.
   * @throws StorageFull
   */
  turn(
    limit: number,
  ): Promise<{ readonly ended: readonly Pin[]; readonly resumed: readonly Pin[] }>;
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
  /** A pin from before its fields had bounds is out of them: it is left out, and kept aside. */
  readonly onRefused: (root: string, reason: string) => void;
}): PinStore {
  const { env, meta, transact, room, nowMs, onRefused } = deps;
  const pins = env.openDB<StoredPin, string>({ name: 'pins', encoding: 'json' });
  const stamps = env.openDB<PinStamp, TimeKey>({ name: 'pin-stamps', encoding: 'json' });
  const byTime = env.openDB<true, TimeKey>({ name: 'pins-by-time' });
  const bySha256 = env.openDB<true, [string, string]>({ name: 'pins-by-sha256' });
  /** Listed pins that will end, and pins that ended, by their end. */
  const ending = env.openDB<true, TimeKey>({ name: 'pins-ending' });
  const ended = env.openDB<true, TimeKey>({ name: 'pins-ended' });

  // These run inside a transaction, where puts and removals take effect at once.
  const list = ({ createdAtMs, root, expiresAtMs }: Pin): void => {
    void byTime.put([createdAtMs, root], true);
    if (expiresAtMs !== undefined) void ending.put([expiresAtMs, root], true);
  };
  const takeOut = ({ createdAtMs, sha256, root, expiresAtMs }: Pin): void => {
    void byTime.remove([createdAtMs, root]);
    if (sha256 !== undefined) void bySha256.remove([sha256, root]);
    if (expiresAtMs === undefined) return;
    void ending.remove([expiresAtMs, root]);
    void ended.remove([expiresAtMs, root]);
  };
  const putIn = (pin: Pin): void => {
    void stamps.put([pinBucket(pin.root), pin.root], stampOf(pin));
    if (pin.sha256 !== undefined) void bySha256.put([pin.sha256, pin.root], true);
    if (isLive(pin, nowMs())) return list(pin);
    if (!pin.deleted && pin.expiresAtMs !== undefined)
      void ended.put([pin.expiresAtMs, pin.root], true);
  };
  const rebuild = (): void => {
    // No cursor stays open over what is written.
    for (const table of [stamps, byTime, bySha256, ending, ended]) table.clearSync();
    const all = [...pins.getRange({})];
    for (const { key, value } of all) {
      const { data: pin, error } = Pin.safeParse(value.pin);
      if (pin === undefined) {
        onRefused(key, refusalOf(error));
        void meta.put(REFUSED_KEY + key, value);
        void pins.remove(key);
        continue;
      }
      void pins.put(key, { pin, signed: value.signed });
      putIn(pin);
    }
    void meta.put('pins-form', FORM);
  };
  if (meta.get('pins-form') !== FORM) env.transactionSync(rebuild);

  const endedBy = (atMs: number, limit: number) => [
    ...ending.getKeys({ end: [atMs + 1, ''], limit }),
  ];
  const notEndedBy = (atMs: number, limit: number) => [
    ...ended.getKeys({ start: [atMs + 1, ''], limit }),
  ];
  const pinAt = ([, root]: TimeKey): Pin => {
    const stored = pins.get(root);
    if (stored === undefined) throw new Error(`${root} has an end, but there is no such pin`);
    return stored.pin;
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
        if (old !== undefined) takeOut(old.pin);
        void pins.put(root, now);
        putIn(now.pin);
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
    newestRoots: (offset, limit) =>
      [...byTime.getKeys({ reverse: true, offset, limit })].map(([, root]) => Cid.parse(root)),
    counts() {
      const live = countOf(byTime);
      return { live, deleted: countOf(pins) - live - countOf(ended) };
    },
    async turn(limit) {
      const atMs = nowMs();
      if (endedBy(atMs, 1).length + notEndedBy(atMs, 1).length === 0)
        return { ended: [], resumed: [] };
      return transact(() => {
        const over = endedBy(atMs, limit).map(pinAt);
        const back = notEndedBy(atMs, limit).map(pinAt);
        for (const pin of [...over, ...back]) {
          takeOut(pin);
          putIn(pin);
        }
        return { ended: over, resumed: back };
      });
    },
  };
}

/** Entries of a table, from its header: `getCount` would walk over all of them. */
function countOf(table: Database<unknown, TimeKey> | Database<StoredPin, string>): number {
  // The declared type is empty; `entryCount` is of LMDB's own `MDB_stat`.
  return (table.getStats() as { entryCount: number }).entryCount;
}
