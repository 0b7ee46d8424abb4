/**
 * The owner of the swarm that tests share (tests/shared-swarm), for those that run tests: `npm test` for
 * all that it runs, jest for itself when it is run alone. It costs nothing until a test asks for it.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { env } from 'node:process';
import { fileURLToPath } from 'node:url';
import { findNode, projectEnv } from './setup.mjs';

const OWNER = fileURLToPath(new URL('../tests/shared-swarm/owner.ts', import.meta.url));
/** As tests/shared-swarm reads it. */
const SOCKET_VARIABLE = 'SHOAL_SHARED_SWARM';

let owned;

/** Starts an owner, unless one of a runner above is there, and tells processes below where it is. */
export async function openSharedSwarm() {
  if (env[SOCKET_VARIABLE] !== undefined) return;
  const folder = mkdtempSync(join(tmpdir(), 'shoal-shared-'));
  const socket = join(folder, 'owner.sock');
  const owner = spawn(findNode(), ['--no-warnings', OWNER, socket], {
    env: { ...projectEnv(), NODE_OPTIONS: '' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  owned = { owner, folder };
  await once(owner.stdout, 'data');
  env[SOCKET_VARIABLE] = socket;
}

/** Ends the owner that was started here. Answers whether the tests left the swarm as it was. */
export async function closeSharedSwarm() {
  if (owned === undefined) return true;
  const { owner, folder } = owned;
  owned = undefined;
  delete env[SOCKET_VARIABLE];
  const ended = once(owner, 'exit');
  owner.kill('SIGTERM');
  const [code] = await ended;
  rmSync(folder, { recursive: true, force: true });
  return code === 0;
}
