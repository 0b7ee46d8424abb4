/**
 * What discovery must not forget, in LMDB: pins, the members' last records (so that a swarm that was
 * switched off finds itself again without seeds), the incarnation, and the last figures of storage.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { Cid, type PeerId, type Pin, Sha256, StorageStats } from '@shoal/protocol';
import { pinBucket, type PinStamp } from '@shoal/swarm';
import { open } from 'lmdb';
import * as z from 'zod';
import { Signed } from './signed.ts';

/** Address space for the map, not disk: a million pins take about one GiB. */
const MAP_SIZE_BYTES = 16 * 1024 ** 3;

/** A member's record and the wall-clock time it was last seen. */
export const SavedMember = z.object({ signed: Signed, seenAtMs: z.number().nonnegative() });
export type SavedMember = z.infer<typeof SavedMember>;

export interface StoredPin {
  readonly pin: Pin;
  readonly signed: Signed;
}

export interface State extends AsyncDisposable {
  getPin(root: Cid): StoredPin | undefined;
  rootsBySha256(sha256: Sha256): Cid[];
  /**
   * Reads and writes one pin with nothing in between; resolves when it is on disk. `update` answers
   * the pin to store, or undefined to leave what is there.
   */
  updatePin(
    root: Cid,
    update: (old: StoredPin | undefined) => StoredPin | undefined,
  ): Promise<{ old: StoredPin | undefined; now: StoredPin | undefined }>;
  /** Stamps of all pins of a bucket, tombstones too, in the order of their roots, after this root. */
  stampsIn(bucket: number, after: string): Iterable<PinStamp>;
  /** Pins, tombstones too, in the order of their roots, after this root. */
  pinsAfter(after: string): Iterable<StoredPin>;
  /** Roots of pins that are not deleted, the newest first. */
  newestRoots(offset: number, limit: number): Cid[];
  /** Number of pins that are not deleted. */
  countPins(): number;
  saveMembers(members: ReadonlyMap<PeerId, SavedMember>): Promise<void>;
  loadMembers(): SavedMember[];
  /** A number above every one given before, and not below `atLeast`; durable before it is given. */
  nextIncarnation(atLeast: number): Promise<number>;
  saveStats(stats: StorageStats): Promise<void>;
  loadStats(): StorageStats | undefined;
}

export function openState(dir: string): State {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  // With overlappingSync a write would count as done before it is on disk.
  const env = open({ path: join(dir, 'state'), mapSize: MAP_SIZE_BYTES, overlappingSync: false });
  const pins = env.openDB<StoredPin, string>({ name: 'pins', encoding: 'json' });
  const byTime = env.openDB<true, [number, string]>({ name: 'pins-by-time' });
  const bySha256 = env.openDB<true, [string, string]>({ name: 'pins-by-sha256' });
  const stamps = env.openDB<PinStamp, [number, string]>({ name: 'pin-stamps', encoding: 'json' });
  const members = env.openDB<SavedMember, string>({ name: 'members', encoding: 'json' });
  const meta = env.openDB<unknown, string>({ name: 'meta', encoding: 'json' });
  let liveCount = byTime.getCount();

  const unindex = ({ pin }: StoredPin): void => {
    if (pin.deleted) return;
    void byTime.remove([pin.createdAtMs, pin.root]);
    void bySha256.remove([pin.sha256, pin.root]);
    liveCount -= 1;
  };
  const index = ({ pin }: StoredPin): void => {
    if (pin.deleted) return;
    void byTime.put([pin.createdAtMs, pin.root], true);
    void bySha256.put([pin.sha256, pin.root], true);
    liveCount += 1;
  };

  return {
    getPin: (root) => pins.get(root),
    rootsBySha256: (sha256) =>
      [...bySha256.getKeys({ start: [sha256, ''], end: [sha256, '~'], limit: 100 })].map(
        ([, root]) => Cid.parse(root),
      ),
    updatePin: (root, update) =>
      env.transaction(() => {
        const old = pins.get(root);
        const now = update(old);
        if (now === undefined) return { old, now: old };
        if (old !== undefined) unindex(old);
        const { clock, origin } = now.pin;
        void pins.put(root, now);
        void stamps.put([pinBucket(root), root], { root, clock, origin });
        index(now);
        return { old, now };
      }),
    *stampsIn(bucket, after) {
      const range = {
        start: [bucket, after] as [number, string],
        end: [bucket, '~'] as [number, string],
      };
      for (const { value } of stamps.getRange(range)) if (value.root !== after) yield value;
    },
    *pinsAfter(after) {
      for (const { key, value } of pins.getRange(after === '' ? {} : { start: after }))
        if (key !== after) yield value;
    },
    newestRoots: (offset, limit) =>
      [...byTime.getKeys({ reverse: true, offset, limit })].map(([, root]) => Cid.parse(root)),
    countPins: () => liveCount,
    saveMembers: (table) =>
      env.transaction(() => {
        const known = [...members.getKeys()];
        for (const key of known) if (!table.has(key as PeerId)) void members.remove(key);
        for (const [peerId, member] of table) void members.put(peerId, member);
      }),
    loadMembers: () => {
      const saved = [...members.getRange()].map(({ value }) => SavedMember.safeParse(value));
      return saved.flatMap(({ data }) => (data === undefined ? [] : [data]));
    },
    nextIncarnation: (atLeast) =>
      env.transaction(() => {
        const last = z.int().nonnegative().safeParse(meta.get('incarnation'));
        const next = Math.max(atLeast, (last.data ?? -1) + 1);
        void meta.put('incarnation', next);
        return next;
      }),
    saveStats: async (stats) => {
      await meta.put('stats', stats);
    },
    loadStats: () => StorageStats.safeParse(meta.get('stats')).data,
    [Symbol.asyncDispose]: () => env.close(),
  };
}
