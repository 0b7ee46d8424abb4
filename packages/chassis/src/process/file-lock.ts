/**
 * A lock that vanishes with its holder however that dies, so a file that merely exists won't do, and
 * Node has no flock. SQLite takes a real lock of the kernel on its file: it ends with the process,
 * holds across containers that share a volume of one machine, and needs no package. Not a unix
 * socket: a container can't tell whether the one of another still has a listener.
 */
import { DatabaseSync } from 'node:sqlite';

/** SQLITE_BUSY: another process has the lock. Anything else is a fault of the file or its disk. */
const SQLITE_BUSY = 5;

/**
 * Locks a file, which is made when it is missing, until disposed; undefined when it is locked, also
 * by this process. Nothing else may open the file: closing it would end the lock.
 */
export function tryLockFile(file: string): Disposable | undefined {
  const database = new DatabaseSync(file, { timeout: 0 });
  try {
    database.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE'); // no second file
  } catch (error) {
    database.close();
    if ((error as { errcode?: number }).errcode === SQLITE_BUSY) return undefined;
    throw error;
  }
  return { [Symbol.dispose]: () => database.close() };
}
