/**
 * How much may still be written: the capacity less what is held, and what the disk has free less the
 * reserve, whichever is smaller. Writes in flight are counted, since the disk shows them late.
 *
 * A share of the capacity is for repair alone: when a peer is lost, the others must be able to take
 * over its copies, however much has been uploaded to them.
 */
import assert, { AssertionError } from 'node:assert';
import { statfs } from 'node:fs/promises';
import { GiB, Problem, StorageFull } from '@shoal/protocol';

/** Age at which the disk's figure is read again: others write to it too. */
const DISK_FIGURE_MAX_MS = 250;

/** The purpose of the room; a repair may use what is reserved for those. */
export interface RoomWish {
  readonly neededBytes: number;
  readonly isRepair: boolean;
}

export interface Room {
  readonly capacityBytes: number;
  /** Bytes that uploads may still write, as the disk says now. */
  free(): Promise<number>;
  /** By how many bytes they would not fit; 0 or less when they do. */
  lacking(wish: RoomWish): Promise<number>;
  /** Which limit uploads would meet first. */
  limit(): string;
  /** Sets room aside until disposed. @throws StorageFull */
  take(sizeBytes: number, options: { readonly isRepair: boolean }): Promise<Disposable>;
  /** A write failed: `StorageFull` where the disk is full, which shows in many ways; else the error itself. */
  explain(error: unknown, sizeBytes: number): Promise<unknown>;
}

export async function openRoom(options: {
  readonly folder: string;
  readonly capacityBytes: number | undefined;
  readonly reserveBytes: number;
  /** Share of the capacity that only repair may fill. */
  readonly repairShare: number;
  readonly usedBytes: () => number;
  readonly uptimeMs: () => number;
}): Promise<Room> {
  const { folder, reserveBytes, usedBytes, uptimeMs } = options;
  let disk = await readDisk(folder);
  let readAtMs = uptimeMs();
  let usedAtRead = usedBytes();
  let takenBytes = 0;
  let refreshing: Promise<void> | undefined;
  const capacityBytes = options.capacityBytes ?? wholeGiB(disk.totalBytes);

  const repairBytes = Math.floor(capacityBytes * options.repairShare);

  const refresh = async (): Promise<void> => {
    readAtMs = uptimeMs();
    disk = await readDisk(folder);
    usedAtRead = usedBytes();
  };
  /** Below zero when repairs, or others on the disk, took what uploads may not. */
  const leftNow = (isRepair: boolean): { leftBytes: number; limit: string } => {
    const grownBytes = Math.max(0, usedBytes() - usedAtRead);
    const onDisk = disk.freeBytes - reserveBytes - grownBytes - takenBytes;
    const keptBytes = isRepair ? 0 : repairBytes;
    const inCapacity = capacityBytes - keptBytes - usedBytes() - takenBytes;
    if (onDisk < inCapacity) return { leftBytes: onDisk, limit: 'disk space' };
    const limit = keptBytes > 0 ? 'storage capacity less the repair reserve' : 'storage capacity';
    return { leftBytes: inCapacity, limit };
  };
  const freeNow = (isRepair: boolean): { freeBytes: number; limit: string } => {
    const { leftBytes, limit } = leftNow(isRepair);
    return { freeBytes: Math.max(0, leftBytes), limit };
  };
  return {
    capacityBytes,
    async free() {
      await refresh();
      return freeNow(false).freeBytes;
    },
    async lacking({ neededBytes, isRepair }) {
      await refresh();
      return neededBytes - leftNow(isRepair).leftBytes;
    },
    limit: () => freeNow(false).limit,
    async take(sizeBytes, { isRepair }) {
      if (uptimeMs() - readAtMs >= DISK_FIGURE_MAX_MS)
        refreshing ??= refresh().finally(() => {
          refreshing = undefined;
        });
      await refreshing; // puts that come meanwhile wait for the one figure, in order
      const { freeBytes, limit } = freeNow(isRepair);
      if (freeBytes < sizeBytes) throw new StorageFull({ limit, freeBytes });
      takenBytes += sizeBytes;
      return {
        [Symbol.dispose]() {
          takenBytes -= sizeBytes;
          assert(takenBytes >= 0, 'room is given back once');
        },
      };
    },
    async explain(error, sizeBytes) {
      if (error instanceof Problem || error instanceof AssertionError) return error;
      await refresh();
      const { freeBytes } = freeNow(false);
      // LMDB, for one, says only that it can't write.
      if (!isFullError(error) && freeBytes > sizeBytes) return error;
      return new StorageFull({ limit: 'disk space', freeBytes }, { cause: error });
    },
  };
}

async function readDisk(folder: string): Promise<{ totalBytes: number; freeBytes: number }> {
  const { bsize, blocks, bavail } = await statfs(folder);
  return { totalBytes: bsize * blocks, freeBytes: bsize * bavail };
}

/** In whole GiB, so that peers on equal disks weigh the same; a tiny disk counts as it is. */
const wholeGiB = (sizeBytes: number): number =>
  sizeBytes < GiB ? sizeBytes : Math.floor(sizeBytes / GiB) * GiB;

/** True for the errors by which a file system says that it is full. */
function isFullError(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ENOSPC' || code === 'EDQUOT';
}
