/** Names and small files that a power cut does not take back. */
import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

/** Makes the names in a folder survive a power cut: syncing a file alone does not (fsync(2)). */
export function syncFolder(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/**
 * Writes a small file whole or not at all, also when the power fails or another process does the same. It is on disk
 * when this returns; on a full disk this throws, and what was there before stays.
 */
export function replaceFile(path: string, text: string, mode = 0o666): void {
  const draft = `${path}.${process.pid}.${Date.now()}`;
  try {
    writeFileSync(draft, text, { mode, flush: true });
    renameSync(draft, path);
  } catch (error) {
    rmSync(draft, { force: true });
    throw error;
  }
  syncFolder(dirname(path));
}
