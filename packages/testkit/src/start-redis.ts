import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { env } from 'node:process';
import { findRedisServer, spawnRedis, waitForRedis } from '@shoal/cli';
import { openTemporaryFolder } from './temporary-folder.ts';

const START_TIMEOUT_MS = 10_000;

export interface RunningRedis extends AsyncDisposable {
  /** Path of its unix socket: the same after a restart. */
  readonly socket: string;
  /** Ends it as a crash would. */
  kill(): Promise<void>;
  /** Starts it again, empty. */
  restart(): Promise<void>;
}

/** A Redis of the test's own, set up as a peer's is. */
export async function startRedis(): Promise<RunningRedis> {
  const folder = await openTemporaryFolder();
  const socket = join(folder.path, 'redis.sock');
  let redis: ChildProcess | undefined;
  const kill = async (): Promise<void> => {
    const last = redis;
    redis = undefined;
    if (last === undefined) return;
    const ended = once(last, 'exit');
    last.kill('SIGKILL');
    await ended;
  };
  const restart = async (): Promise<void> => {
    await kill();
    redis = spawnRedis({ program: findRedisServer(env), socket, output: 'ignore' });
    await waitForRedis(socket, { signal: AbortSignal.timeout(START_TIMEOUT_MS) });
  };
  await restart();
  return {
    socket,
    kill,
    restart,
    async [Symbol.asyncDispose]() {
      await kill();
      await folder[Symbol.asyncDispose]();
    },
  };
}
