/** The swarm key: whoever has it is a member. Made once, never a default. */
import { randomBytes } from 'node:crypto';
import { linkSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { readSwarmKey } from '@shoal/chassis';

const KEY_SIZE_BYTES = 32;

/**
 * Makes sure that `file` holds a swarm key, readable by its owner alone; an existing one is kept.
 * Two processes that race end with the same key.
 * @throws ConfigError when the file holds something else.
 */
export function ensureSwarmKey(file: string): void {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const draft = `${file}.${process.pid}`;
  writeFileSync(draft, `${randomBytes(KEY_SIZE_BYTES).toString('hex')}\n`, {
    mode: 0o600,
    flush: true,
  });
  try {
    linkSync(draft, file); // refuses to replace: the first key is the key
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw cause;
  } finally {
    rmSync(draft, { force: true });
  }
  readSwarmKey(file);
}
