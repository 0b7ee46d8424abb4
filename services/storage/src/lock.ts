/**
 * One process per store. The lock must vanish with its holder however that dies, so a file that
 * merely exists won't do, and Node has no flock. SQLite takes a real lock of the kernel on its
 * file, which ends with the process, holds across containers on one machine, and needs no package.
 */
import { DatabaseSync } from 'node:sqlite';
import { ConfigError } from '@shoal/chassis';

/** @throws ConfigError when another process, or this one, has the folder open. */
export function lockFolder(file: string): Disposable {
  const database = new DatabaseSync(file, { timeout: 0 });
  try {
    database.exec('BEGIN EXCLUSIVE');
  } catch (cause) {
    database.close();
    throw new ConfigError(
      `PEER_DATA_DIR: another storage service already serves this folder (${file} is locked); stop it, or give this peer its own folder`,
      { cause },
    );
  }
  return { [Symbol.dispose]: () => database.close() };
}
