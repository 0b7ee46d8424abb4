/**
 * The peer's own Redis: on a unix socket, with nothing persisted, since it is never the only holder
 * of truth.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants } from 'node:fs';
import { connect } from 'node:net';
import { delimiter, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { CommandFailure } from '../failure.ts';

/** Valkey is the same server under another name. */
const PROGRAMS = ['redis-server', 'valkey-server'];
/**
 * Queues hold ids only: a peer that needs more than this has a fault.
 * Past it: jobs are not queued; settling does their work.
 */
const MEMORY_MAX = '256mb';
/** Start of Redis. Past it: the peer is not started. */
const ANSWER_TIMEOUT_MS = 10_000;
const ANSWER_POLL_MS = 10;

/**
 * Path of the Redis server on this machine.
 * @throws CommandFailure without one.
 */
export function findRedisServer(env: Readonly<Record<string, string | undefined>>): string {
  const folders = (env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '');
  for (const program of PROGRAMS)
    for (const folder of folders) {
      const path = join(folder, program);
      if (isExecutable(path)) return path;
    }
  throw new CommandFailure(
    'redis-server is not installed; run "npm run setup", or install it (apt install redis-server, apk add redis, dnf install redis, brew install redis)',
  );
}

/** Starts Redis on `socket`; it ends when this process does, however that ends. */
export function spawnRedis(options: {
  readonly program: string;
  readonly socket: string;
  readonly output: number | 'ignore' | 'pipe';
}): ChildProcess {
  const { program, socket, output } = options;
  const settings = {
    port: '0',
    unixsocket: socket,
    unixsocketperm: '700',
    save: '',
    appendonly: 'no',
    hz: '1', // its own upkeep, ten times a second by default: there is nothing to expire
    'maxmemory-policy': 'noeviction',
    maxmemory: MEMORY_MAX,
    daemonize: 'no',
    dir: dirname(socket),
    loglevel: 'warning',
  };
  const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]);
  const redis = spawn(program, args, { stdio: ['ignore', output, output], detached: true });
  if (redis.pid !== undefined) guard(redis, redis.pid);
  return redis;
}

/** Waits until Redis takes connections. @throws CommandFailure past a deadline, and once there is a `failure`. */
export async function waitForRedis(
  socket: string,
  {
    failure = () => undefined,
    signal,
  }: { failure?: () => CommandFailure | undefined; signal: AbortSignal },
) {
  const deadlineMs = performance.now() + ANSWER_TIMEOUT_MS;
  while (!(await accepts(socket))) {
    signal.throwIfAborted();
    const reason = failure();
    if (reason !== undefined) throw reason;
    if (performance.now() > deadlineMs)
      throw new CommandFailure(`Redis does not answer on ${socket}; its log says why`);
    await sleep(ANSWER_POLL_MS, undefined, { signal });
  }
}

/** Services notice the launcher's end within a second and still want their Redis while they stop. */
const GUARD_WAIT_S = 4;

/**
 * Redis can't watch who started it. This shell waits on a pipe that only our end keeps open: when we
 * are gone, even killed, it reads the end and stops Redis. `detached`, so that Ctrl-C leaves it alone.
 */
function guard(redis: ChildProcess, redisPid: number): void {
  const shell = spawn(
    '/bin/sh',
    ['-c', `read _; sleep ${GUARD_WAIT_S}; kill -9 ${redisPid} 2>/dev/null`],
    {
      stdio: ['pipe', 'ignore', 'ignore'],
      detached: true,
    },
  );
  shell.once('error', () => {}); // no shell: Redis is still stopped when we end in order
  shell.stdin.on('error', () => {}); // the shell ended before us
  redis.once('exit', () => shell.kill('SIGKILL'));
}

async function accepts(socket: string): Promise<boolean> {
  const connection = connect(socket);
  try {
    await once(connection, 'connect');
    return true;
  } catch {
    return false; // not yet: the caller asks again until its deadline
  } finally {
    connection.destroy();
  }
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
