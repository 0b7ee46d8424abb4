/**
 * Room to delete on a disk that others have filled to the last byte. LMDB writes to delete: it copies the
 * pages that change before the old ones are free. So its file holds free pages in advance, which nobody
 * else can take, and what makes the state grow is refused while the disk still has a little: the free
 * pages are left for tombstones, and for what a peer must write down to leave.
 *
 * A reserve file that is deleted in need, as storage has, would have to win a race against the process that fills
 * the disk. A file system that writes nothing in place (btrfs, ZFS) needs room for its own; its own
 * reserve serves that.
 */
import { statfsSync } from 'node:fs';
import { MiB, StorageFull } from '@shoal/protocol';
import type { Database, RootDatabase } from 'lmdb';

/** Free pages in the file. A deletion copies some 20, which are free again after the next one. */
const RESERVE_PAGES = 256;
/** Less than this on the disk: the state may not grow. */
const FREE_MIN_BYTES = MiB;
/** Takes a page for itself, full or not (LMDB keeps two entries to a page at least). */
const PAGE_FILLER = 'x'.repeat(4000);

export interface StateRoom {
  /** @throws StorageFull when the state may not grow. */
  check(): void;
}

/** Takes the free pages into the file, if there is room; before anybody else writes. */
export function openRoom(deps: {
  readonly env: RootDatabase;
  readonly meta: Database<unknown, string>;
  readonly dir: string;
}): StateRoom {
  const { env, meta, dir } = deps;
  const freeBytes = (): number => {
    const { bsize, bavail } = statfsSync(dir);
    return bsize * bavail;
  };
  const keys = Array.from({ length: RESERVE_PAGES }, (_, at) => `reserve-${at}`);
  if (freeBytes() > 2 * FREE_MIN_BYTES)
    try {
      env.transactionSync(() => keys.forEach((key) => void meta.put(key, PAGE_FILLER)));
      env.transactionSync(() => keys.forEach((key) => void meta.remove(key)));
    } catch {
      // The disk got full meanwhile: what there is must do, and the next start tries again.
    }
  return {
    check() {
      const free = freeBytes();
      if (free < FREE_MIN_BYTES)
        throw new StorageFull({ limit: 'disk space of the pin store', freeBytes: free });
    },
  };
}
