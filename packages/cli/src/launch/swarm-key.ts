/** The swarm key, which makes its holder a member. Made once, never a default. */
import { randomBytes } from 'node:crypto';
import { existsSync, linkSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { ConfigError, readSwarmKey } from '@shoal/chassis/config';

const KEY_SIZE_BYTES = 32;

/**
 * Makes sure that `file` holds a swarm key, readable by its owner alone; an existing one is kept.
 * Those who race for it, also from several containers, end with the same key.
 * Answers whether it was made now.
 * @throws ConfigError when the file holds something else.
 */
export function ensureSwarmKey(file: string): boolean {
  const isNew = putKey(file, randomBytes(KEY_SIZE_BYTES).toString('hex'));
  readSwarmKey(file);
  return isNew;
}

/**
 * Writes a key that was given, as 64 hex digits, where the services read it.
 * @throws ConfigError when it is no key, or when `file` holds another one: a peer whose data belongs
 *   to one swarm must not take it into another.
 */
export function writeSwarmKey(file: string, hex: string): void {
  readHexKey(hex);
  putKey(file, hex.toLowerCase());
  if (Buffer.from(readSwarmKey(file)).toString('hex') !== hex.toLowerCase())
    throw new ConfigError(
      `SWARM_KEY is not the key in ${file}; remove that file to move this peer to another swarm`,
    );
}

/** The key in SWARM_KEY. @throws ConfigError when it is none. */
export function readHexKey(hex: string): Uint8Array {
  if (!/^[0-9a-f]{64}$/i.test(hex)) throw new ConfigError('SWARM_KEY must hold 64 hex digits');
  return Buffer.from(hex, 'hex');
}

/** Unless there is one already; answers whether it was put. */
function putKey(file: string, hex: string): boolean {
  if (existsSync(file)) return false; // a peer with a key starts on a full disk too
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  // Process ids repeat among containers, so they won't do as a name.
  const draft = `${file}.${randomBytes(8).toString('hex')}`;
  try {
    writeFileSync(draft, `${hex}\n`, { mode: 0o600, flag: 'wx', flush: true });
    linkSync(draft, file); // refuses to replace: the first key is the key
    return true;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw cause;
    return false;
  } finally {
    rmSync(draft, { force: true });
  }
}
