/**
 * The durable state of discovery, in LMDB: pins, the members' last records (so that a swarm that was
 * switched off finds itself again without seeds), the incarnation, whether this peer is draining, and
 * the last figures of storage.
 */
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { syncFolder } from '@shoal/chassis';
import { type PeerId, refusalOf, StorageFull, StorageStats, TimeMs } from '@shoal/protocol';
import { open } from 'lmdb';
import { openPinStore, type PinStore } from './pin-store.ts';
import { openRoom } from './room.ts';
import { SavedMember } from '../members/saved-member.ts';
import { Signed } from '../network/signed.ts';
import { createTransact } from './transact.ts';

/** Address space for the map, not disk: a million pins take about one GiB. */
const MAP_SIZE_BYTES = 16 * 1024 ** 3;

/** Writes throw StorageFull on a full disk; those that a peer needs to delete or to leave, last of all. */
export interface State extends AsyncDisposable {
  readonly pins: PinStore;
  saveMembers(members: ReadonlyMap<PeerId, SavedMember>): Promise<void>;
  loadMembers(): SavedMember[];
  /**
   * A number above all earlier ones, and at least `atLeast`. It is durable before it is returned, except on
   * a full disk: starting is worth the risk that a clock which is set back gives the number again.
   */
  nextIncarnation(atLeast: number): Promise<number>;
  /** Our own record, which says where this folder was last run. */
  saveOwn(signed: Signed): Promise<void>;
  loadOwn(): Signed | undefined;
  isDraining(): boolean;
  saveDraining(isDraining: boolean): Promise<void>;
  saveStats(stats: StorageStats): Promise<void>;
  loadStats(): StorageStats | undefined;
  /** That what others take in can't be noted here for lack of room, in a sentence; undefined while it can. */
  roomNotice(): string | undefined;
}

export function openState(
  dir: string,
  {
    nowMs = Date.now,
    undeleteMs = 0,
    onRefused = () => {},
    onTransaction = () => {},
  }: {
    readonly nowMs?: () => number;
    /** How long a deleted file can be brought back. */
    readonly undeleteMs?: number;
    /** Something on disk is out of bounds and was left out. */
    readonly onRefused?: (what: 'member' | 'pin', name: string, reason: string) => void;
    /** Something is about to be written. */
    readonly onTransaction?: () => void;
  } = {},
): State {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const env = open({
    path: join(dir, 'state'),
    mapSize: MAP_SIZE_BYTES,
    // With it on, a write would count as done before it is on disk.
    overlappingSync: false,
    // With it on, a failed commit also rejects a promise that no code can reach.
    eventTurnBatching: false,
  });
  // LMDB syncs its file, not the names of it and of its folder.
  for (const folder of [join(dir, 'state'), dir, dirname(dir)]) syncFolder(folder);
  const transact = createTransact(env, dir, { onTransaction });
  const members = env.openDB<SavedMember, string>({ name: 'members', encoding: 'json' });
  const meta = env.openDB<unknown, string>({ name: 'meta', encoding: 'json' });
  const room = openRoom({ env, meta, dir });
  const save = (key: string, value: unknown) => transact(() => void meta.put(key, value));

  return {
    pins: openPinStore({
      env,
      meta,
      transact,
      room,
      nowMs,
      undeleteMs,
      onRefused: (root, reason) => onRefused('pin', root, reason),
    }),
    saveMembers: (table) =>
      transact(() => {
        room.check();
        const known = [...members.getKeys()];
        for (const key of known) if (!table.has(key as PeerId)) void members.remove(key);
        for (const [peerId, member] of table) void members.put(peerId, member);
      }),
    loadMembers: () => {
      return [...members.getRange()].flatMap(({ key, value }) => {
        const { data, error } = SavedMember.safeParse(value);
        if (data !== undefined) return [data];
        onRefused('member', key, refusalOf(error));
        return [];
      });
    },
    async nextIncarnation(atLeast) {
      const last = TimeMs.safeParse(meta.get('incarnation'));
      const next = Math.max(atLeast, (last.data ?? -1) + 1);
      await save('incarnation', next).catch((error: unknown) => {
        if (!(error instanceof StorageFull)) throw error;
      });
      return next;
    },
    saveOwn: (signed) =>
      transact(() => {
        room.check();
        void meta.put('own', signed);
      }),
    loadOwn: () => Signed.safeParse(meta.get('own')).data,
    isDraining: () => meta.get('draining') === true,
    saveDraining: (isDraining) => save('draining', isDraining),
    saveStats: (stats) =>
      transact(() => {
        room.check();
        void meta.put('stats', stats);
      }),
    roomNotice: () => room.notice(),
    loadStats: () => StorageStats.safeParse(meta.get('stats')).data,
    [Symbol.asyncDispose]: () => env.close(),
  };
}
