/** Connections to the peer's own Redis, which may be away at any time: its loss is logged once, and its return. */
import { Redis, type RedisOptions } from 'ioredis';
import type { Log } from '../process/log.ts';

/** Redis is spawned by the launcher and restarted within a second: retry soon, and without an end. */
const RECONNECT_DELAY_MS = 250;

/** For producing and caching: commands fail while Redis is away. @param socket Path of Redis' Unix socket. */
export const connectRedis = (socket: string, log: Log): Redis =>
  connect(socket, log, { maxRetriesPerRequest: 1, enableOfflineQueue: false });

/** For waiting and listening: it outlasts a restart of Redis. */
export const connectBlocking = (socket: string, log: Log): Redis =>
  connect(socket, log, { maxRetriesPerRequest: null });

function connect(
  path: string,
  log: Log,
  options: Pick<RedisOptions, 'maxRetriesPerRequest' | 'enableOfflineQueue'>,
): Redis {
  const redis = new Redis({ path, retryStrategy: () => RECONNECT_DELAY_MS, ...options });
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
