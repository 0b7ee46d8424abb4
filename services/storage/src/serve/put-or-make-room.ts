/** A put that would be refused for lack of room waits for room to be made, at the cost of deleted files. */
import { setTimeout as sleep } from 'node:timers/promises';
import { cidOf } from '@shoal/blocks';
import { type Codec, type Lease, type PutReply, StorageFull } from '@shoal/protocol';
import { digestOfHash } from '../disk/block-record.ts';
import type { RoomWish } from '../disk/room.ts';
import type { Blockstore } from '../store/blockstore.ts';
import type { PutWishes } from '../store/operations/put.ts';

/** Longest wait of a put for room to be made: its caller waits a little longer. */
const ROOM_WAIT_MAX_MS = 10_000;

/** @throws StorageFull, RequestInvalid as the store's `put` does. */
export type PutOrMakeRoom = (
  block: { readonly hash: Uint8Array; readonly codec: Codec; readonly bytes: Uint8Array },
  options: PutWishes & { readonly lease: Lease | undefined },
) => Promise<PutReply>;

export function createPutOrMakeRoom({
  store,
  makeRoom,
}: {
  readonly store: Pick<Blockstore, 'put'>;
  /** Answers whether there is room for that many bytes now. */
  readonly makeRoom: (wish: RoomWish) => Promise<boolean>;
}): PutOrMakeRoom {
  return async ({ hash, codec, bytes }, { lease, ...wishes }) => {
    const { isYielding = false, replicas } = wishes;
    const put = () => store.put(digestOfHash(hash), bytes, lease, wishes);
    const { isNew } = await put().catch(async (error: unknown) => {
      if (isYielding || !(error instanceof StorageFull)) throw error;
      const wish = {
        neededBytes: bytes.length,
        isRepair: lease === undefined && replicas === undefined,
      };
      const wait = sleep(ROOM_WAIT_MAX_MS, false, { ref: false });
      if (!(await Promise.race([makeRoom(wish), wait]))) throw error;
      return put();
    });
    return { cid: cidOf(codec, hash), sizeBytes: bytes.length, isNew };
  };
}
