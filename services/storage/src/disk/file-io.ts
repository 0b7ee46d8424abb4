/**
 * The calls by which block files are changed. They are apart so that a test can record them and
 * open the store in the states that a power cut could leave (testkit, crash-states.ts).
 *
 * Calls that move bytes go to the thread pool. Opening, closing and renaming take microseconds, less
 * than the way to another thread and back, and are done in place.
 */
import { closeSync, fdatasync, mkdirSync, openSync, renameSync, rmSync, write } from 'node:fs';
import { open, rm } from 'node:fs/promises';
import { promisify } from 'node:util';

const writeAt = promisify(write);
const datasync = promisify(fdatasync);

export interface FileIo {
  /** Makes a file that must not be there yet; gives it open. */
  create(path: string): number;
  /** Writes all of the bytes from the start of the file on. */
  writeAll(fd: number, bytes: Uint8Array): Promise<void>;
  /** Resolves when the bytes are on the disk. */
  sync(fd: number): Promise<void>;
  close(fd: number): void;
  rename(from: string, to: string): void;
  /** Removes a file, or a folder in its place; one that is not there is fine. */
  remove(path: string): Promise<void>;
  removeNow(path: string): void;
  /** Makes a folder, and those above it; one that is there is fine. */
  makeFolder(path: string): void;
  /** A new name is durable only once the folder that holds it is synced: see fsync(2). */
  syncFolder(path: string): Promise<void>;
}

export const nodeFileIo: FileIo = {
  create: (path) => openSync(path, 'wx'),
  async writeAll(fd, bytes) {
    for (let offset = 0; offset < bytes.length;) {
      const { bytesWritten } = await writeAt(fd, bytes, offset, bytes.length - offset, offset);
      offset += bytesWritten;
    }
  },
  sync: (fd) => datasync(fd),
  close: (fd) => closeSync(fd),
  rename: (from, to) => renameSync(from, to),
  remove: (path) => rm(path, { force: true, recursive: true }),
  removeNow: (path) => rmSync(path, { force: true, recursive: true }),
  makeFolder(path) {
    mkdirSync(path, { recursive: true });
  },
  async syncFolder(path) {
    const handle = await open(path, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  },
};
