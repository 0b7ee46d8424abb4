/** Peers as `npm start` runs them, on ports of their own and in a folder of the caller's. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { env } from 'node:process';
import { createInterface } from 'node:readline';
import { eventually, isRunning } from '@shoal/testkit';
import { processesBelow } from './processes.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const BASE_PORT = 17_100;

export interface BuiltPeers extends AsyncDisposable {
  /** Of `npm`, below which everything runs. */
  readonly rootId: number;
  readonly peers: readonly { readonly gateway: string; readonly chunker: string }[];
  /** From the command to the line that says that all peers see each other. */
  readonly readyAfterMs: number;
}

/** @throws Error when it ends before the swarm is ready. */
export async function startBuiltPeers(
  dataDir: string,
  { peers: count = 5 }: { readonly peers?: number } = {},
): Promise<BuiltPeers> {
  const startedAtMs = performance.now();
  const options = ['--json', '--data-dir', dataDir, '--base-port', String(BASE_PORT)];
  options.push('--peers', String(count));
  const child = spawn('npm', ['start', '--silent', '--', ...options], {
    cwd: ROOT,
    env: { ...env, SHOAL_CONFIG_DIR: join(dataDir, 'config') }, // no key in the person's own
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(child, 'exit');
  const line = await Promise.race([
    once(createInterface({ input: child.stdout }), 'line').then(([text]) => String(text)),
    ended.then(([code]) => {
      throw new Error(`npm start ended with ${code}`);
    }),
  ]);
  const readyAfterMs = performance.now() - startedAtMs;
  // What the launcher wrote a moment ago.
  const { peers } = JSON.parse(line) as Pick<BuiltPeers, 'peers'>;
  const { pid: rootId } = child;
  if (rootId === undefined) throw new Error('npm is not running');
  return {
    rootId,
    peers,
    readyAfterMs,
    async [Symbol.asyncDispose]() {
      const ids = processesBelow(rootId).map(({ id }) => id);
      child.kill('SIGTERM');
      // npm does not wait for the launcher, nor the next start for the last one's folders.
      await eventually('the swarm has stopped', () => !ids.some(isRunning));
    },
  };
}
