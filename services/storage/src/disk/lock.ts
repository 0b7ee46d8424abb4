/** One process per store: two would each trust an index of its own. */
import { ConfigError } from '@shoal/chassis';
import { tryLockFile } from '@shoal/chassis/file-lock';

/** @throws ConfigError when another process, or this one, has the folder open. */
export function lockFolder(file: string): Disposable {
  const lock = tryLockFile(file);
  if (lock === undefined)
    throw new ConfigError(
      `PEER_DATA_DIR: another storage service already serves this folder (${file} is locked); stop it, or give this peer its own folder`,
    );
  return lock;
}
