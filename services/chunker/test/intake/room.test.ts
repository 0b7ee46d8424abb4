import { describe, expect, it } from '@jest/globals';
import { createLog, type PeerClient } from '@shoal/chassis';
import { MiB, ServiceUnavailable, StorageFull, storageRoutes } from '@shoal/protocol';
import { createRoom } from '../../src/intake/room.ts';

const { signal } = new AbortController();

/** A storage with no room, and so much that it can make. */
function paperRoom(madeBytes: number | undefined) {
  const asked: number[] = [];
  const stats = (freeBytes: number) => ({ freeBytes, limit: 'storage capacity' });
  const call = async (_: unknown, route: unknown, args: { body: { neededBytes: number } }) => {
    if (route === storageRoutes.stats) return stats(MiB);
    if (route !== storageRoutes.makeRoom) throw new Error('a call that room does not make');
    asked.push(args.body.neededBytes);
    if (madeBytes === undefined) throw new ServiceUnavailable({ service: 'storage' });
    return stats(madeBytes);
  };
  const peers = { own: () => ({}), call } as unknown as PeerClient; // what room uses of it
  const members = {
    checkClock: async () => undefined,
    checkWritable: async () => undefined,
    placeableCount: async () => 1,
    withRoom: async () => [],
  };
  return {
    room: createRoom({
      client: peers,
      members,
      stopping: new AbortController().signal,
      log: createLog('chunker', 'silent'),
    }),
    asked,
  };
}

describe('room for an upload', () => {
  it('is made by storage before the upload is refused, and only then', async () => {
    const { room, asked } = paperRoom(8 * MiB);
    await room.check(MiB, { signal });
    expect(asked).toEqual([]);
    await room.check(8 * MiB, { signal });
    expect(asked).toEqual([8 * MiB]);
    await expect(room.check(9 * MiB, { signal })).rejects.toMatchObject({
      fields: { freeBytes: 8 * MiB },
    });
  });

  it('is refused as it stands when storage can make none', async () => {
    const { room } = paperRoom(undefined);
    const refused = room.check(2 * MiB, { signal });
    await expect(refused).rejects.toBeInstanceOf(StorageFull);
    await expect(refused).rejects.toMatchObject({ fields: { freeBytes: MiB } });
  });
});
