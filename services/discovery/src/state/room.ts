/**
 * Room to delete on a disk that others have filled to the last byte. LMDB writes to delete: it copies the
 * pages that change before the old ones are free. So its file holds free pages in advance, which no other
 * process can take, and writes that make the state grow are refused while the disk still has a little room:
 * the free pages are left for tombstones, and for what a peer must write to leave.
 *
 * A reserve file that is deleted in need, as storage has, would have to win a race against the process that
 * fills the disk. A copy-on-write file system (btrfs, ZFS) needs more room; it keeps a reserve of its own.
 */
import { statfsSync } from 'node:fs';
import { MiB, StorageFull } from '@shoal/protocol';
import type { Database, RootDatabase } from 'lmdb';

/** Free pages in the file. A deletion copies some 20, which are free again after the next one. */
const RESERVE_PAGES = 256;
/** With less than this on the disk the state may not grow. */
const FREE_MIN_BYTES = MiB;
/** Fills a page by itself (LMDB keeps at least two entries in a page). */
const PAGE_FILLER = 'x'.repeat(4000);

export interface StateRoom {
  /** @throws StorageFull when the state may not grow. */
  check(): void;
  /** That it may not, and what this means for those who ask this peer, in a sentence. */
  notice(): string | undefined;
}

/** Takes the free pages into the file, if there is room; before any other write. */
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
      // The disk got full meanwhile; the next start tries again.
    }
  return {
    notice: () =>
      freeBytes() < FREE_MIN_BYTES
        ? `the disk under ${dir} is full: files that others take in now are missing from the lists of this peer until there is room`
        : undefined,
    check() {
      const free = freeBytes();
      if (free < FREE_MIN_BYTES)
        throw new StorageFull({ limit: 'disk space of the pin store', freeBytes: free });
    },
  };
}
