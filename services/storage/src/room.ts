/**
 * How much may still be written: the capacity less what is held, and what the disk has free less the
 * reserve, whichever is smaller. Writes in flight are counted, since the disk shows them late.
 */
import { statfs } from 'node:fs/promises';
import { GiB, StorageFull } from '@shoal/protocol';

/** Age at which the disk's figure is read again: others write to it too. */
const DISK_FIGURE_MAX_MS = 250;

export interface Room {
  readonly capacityBytes: number;
  /** Bytes that may still be written, as the disk says now. */
  free(): Promise<number>;
  /** Sets room aside until disposed. @throws StorageFull */
  take(sizeBytes: number): Promise<Disposable>;
}

export async function openRoom(options: {
  readonly folder: string;
  readonly capacityBytes: number | undefined;
  readonly reserveBytes: number;
  readonly usedBytes: () => number;
  readonly nowMs: () => number;
}): Promise<Room> {
  const { folder, reserveBytes, usedBytes, nowMs } = options;
  let disk = await readDisk(folder);
  let readAtMs = nowMs();
  let usedAtRead = usedBytes();
  let takenBytes = 0;
  const capacityBytes = options.capacityBytes ?? wholeGiB(disk.totalBytes);

  const refresh = async (): Promise<void> => {
    readAtMs = nowMs();
    disk = await readDisk(folder);
    usedAtRead = usedBytes();
  };
  const freeNow = (): { freeBytes: number; limit: string } => {
    const grownBytes = Math.max(0, usedBytes() - usedAtRead);
    const onDisk = disk.freeBytes - reserveBytes - grownBytes - takenBytes;
    const inCapacity = capacityBytes - usedBytes() - takenBytes;
    return onDisk < inCapacity
      ? { freeBytes: Math.max(0, onDisk), limit: 'disk space' }
      : { freeBytes: Math.max(0, inCapacity), limit: 'storage capacity' };
  };
  return {
    capacityBytes,
    async free() {
      await refresh();
      return freeNow().freeBytes;
    },
    async take(sizeBytes) {
      if (nowMs() - readAtMs >= DISK_FIGURE_MAX_MS) await refresh();
      const { freeBytes, limit } = freeNow();
      if (freeBytes < sizeBytes) throw new StorageFull({ limit, freeBytes });
      takenBytes += sizeBytes;
      return {
        [Symbol.dispose]() {
          takenBytes -= sizeBytes;
        },
      };
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
export function isFullError(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ENOSPC' || code === 'EDQUOT';
}
