/**
 * Writes to LMDB, all or nothing, on a disk that may be full. A commit that fails leaves the data as
 * they were and the environment usable, so there is nothing to undo, and nothing to do when there is
 * room again; callers change their memory after the commit.
 */
import { statfs } from 'node:fs/promises';
import { constants } from 'node:os';
import { setTimeout as wait } from 'node:timers/promises';
import { StorageFull } from '@shoal/protocol';
import type { RootDatabase } from 'lmdb';

/** lmdb reports the cause of a failed commit on a second promise, commonly within a millisecond. */
const COMMIT_ERROR_TIMEOUT_MS = 250;
const FULL_CODES: readonly unknown[] = [constants.errno.ENOSPC, constants.errno.EDQUOT];

/**
 * Runs `work` with nothing in between; resolves when what it wrote is on disk. LMDB commits several of these
 * together, so an error that `work` throws undoes nothing: it must check before it writes.
 * @throws StorageFull when the disk has no room for it
 */
export type Transact = <T>(work: () => T) => Promise<T>;

export function createTransact(
  env: RootDatabase,
  dir: string,
  { onTransaction }: { readonly onTransaction: () => void },
): Transact {
  return async (work) => {
    onTransaction();
    try {
      return await env.transaction(work);
    } catch (error) {
      const { commitError } = error as { commitError?: Promise<unknown> };
      if (commitError === undefined) throw error; // thrown by `work`
      // Left unhandled, the second promise would end the process.
      const cause = await Promise.race([
        commitError.catch((reason: unknown) => reason),
        wait(COMMIT_ERROR_TIMEOUT_MS, error, { ref: false }),
      ]);
      const freeBytes = await freeBytesAt(dir);
      if (!FULL_CODES.includes((cause as { code?: unknown }).code) && freeBytes > 0)
        throw new Error('the state could not be written', { cause });
      throw new StorageFull({ limit: 'disk space of the pin store', freeBytes }, { cause });
    }
  };
}

async function freeBytesAt(dir: string): Promise<number> {
  const { bsize, bavail } = await statfs(dir);
  return bsize * bavail;
}
