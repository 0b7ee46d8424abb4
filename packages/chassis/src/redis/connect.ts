/**
 * Connections to the peer's own Redis, which may be away at any time: its loss is logged once, and its return.
 *
 * All of a process that produce share one connection, and all that wait for jobs another: each costs a start
 * some milliseconds, since the scripts of BullMQ are hashed for every one of them.
 */
import assert from 'node:assert';
import { Redis, type RedisOptions } from 'ioredis';
import type { Log } from '../process/log.ts';

/** Redis is spawned by the launcher and restarted within a second: retry soon, and without an end. */
const RECONNECT_DELAY_MS = 250;

const KINDS = {
  /** Commands fail while Redis is away. */
  producing: { maxRetriesPerRequest: 1, enableOfflineQueue: false },
  /** It outlasts a restart of Redis. */
  blocking: { maxRetriesPerRequest: null },
} as const satisfies Record<string, RedisOptions>;

interface Shared {
  readonly redis: Redis;
  users: number;
}

/** By kind and socket: a process that hosts several peers has a Redis for each. */
const connections = new Map<string, Shared>();

/** A use of a connection, which ends with the last of them. */
export interface RedisUse extends Disposable {
  readonly redis: Redis;
}

/** For producing and caching: commands fail while Redis is away. @param socket Path of Redis' Unix socket. */
export const connectRedis = (socket: string, log: Log): RedisUse => share('producing', socket, log);

/** For workers: it outlasts a restart of Redis. */
export const connectBlocking = (socket: string, log: Log): RedisUse =>
  share('blocking', socket, log);

/** For listening: what is subscribed takes no other command, so nobody shares it. */
export const connectListening = (socket: string, log: Log): Redis =>
  connect(socket, log, KINDS.blocking);

/** The same for BullMQ to open, where it would make a copy of ours and leave that unused. */
export const blockingOptions = (socket: string) => optionsOf(socket, KINDS.blocking);

function share(kind: keyof typeof KINDS, socket: string, log: Log): RedisUse {
  const name = `${kind} ${socket}`;
  const shared = connections.get(name) ?? { redis: connect(socket, log, KINDS[kind]), users: 0 };
  connections.set(name, shared);
  shared.users += 1;
  let isOver = false;
  return {
    redis: shared.redis,
    [Symbol.dispose]() {
      if (isOver) return;
      isOver = true;
      shared.users -= 1;
      assert(shared.users >= 0, 'a use of a connection ends once');
      if (shared.users > 0) return;
      connections.delete(name);
      shared.redis.disconnect();
    },
  };
}

type KindOptions = (typeof KINDS)[keyof typeof KINDS];

const optionsOf = <O extends KindOptions>(path: string, options: O) => ({
  path,
  retryStrategy: () => RECONNECT_DELAY_MS,
  ...options,
});

function connect(path: string, log: Log, options: KindOptions): Redis {
  const redis = new Redis(optionsOf(path, options));
  let isLost = false;
  redis.on('error', (err) => {
    if (!isLost) log.warn({ err }, 'redis lost');
    isLost = true;
  });
  redis.on('ready', () => {
    if (isLost) log.info('redis back');
    isLost = false;
  });
  return redis;
}
