/**
 * A file without meaning, deleted when the disk is full. LMDB writes to delete: a removal copies the
 * pages it changes before the old ones are free. When others have taken the very last bytes, the
 * store could not even make room; then this file goes, and comes back once there is space again.
 */
import { randomBytes } from 'node:crypto';
import { open, rename, rm, stat } from 'node:fs/promises';
import { MiB } from '@shoal/protocol';

/** A removal of one block changes some 20 pages of 4 KiB at most; larger ones are cut down to it. */
const BALLAST_SIZE_BYTES = MiB;

export interface Ballast {
  /** Gives its space to the disk; false when that was done already. */
  release(): Promise<boolean>;
  /** Takes the space again, when there is any. */
  restore(): Promise<void>;
}

export async function openBallast(file: string): Promise<Ballast> {
  const draft = `${file}.draft`;
  let isHere = await stat(file).then(
    ({ size }) => size === BALLAST_SIZE_BYTES,
    () => false,
  );
  const ballast: Ballast = {
    async release() {
      if (!isHere) return false;
      isHere = false;
      await rm(file, { force: true });
      return true;
    },
    async restore() {
      if (isHere) return;
      try {
        const handle = await open(draft, 'w');
        try {
          await handle.writeFile(randomBytes(BALLAST_SIZE_BYTES)); // zeros may take up no space
          await handle.sync();
        } finally {
          await handle.close();
        }
        await rename(draft, file);
        isHere = true;
      } catch {
        await rm(draft, { force: true }); // no space yet: it is tried again
      }
    },
  };
  await ballast.restore();
  return ballast;
}
