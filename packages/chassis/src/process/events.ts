/**
 * What a service did, told to the watchers of this peer over its own Redis. Best effort: events are
 * hints, so nothing waits for them, and while Redis is away they are not told.
 */
import { EVENTS_CHANNEL, SwarmEvent } from '@shoal/protocol';
import type { Log } from './log.ts';
import { connectRedis } from './queue.ts';

export interface Events extends Disposable {
  publish(event: SwarmEvent): void;
}

/** @param socket The path of Redis' Unix socket. */
export function connectEvents(socket: string, log: Log): Events {
  const redis = connectRedis(socket, log);
  return {
    publish(event) {
      if (redis.status !== 'ready') return;
      // What the schema does not take, a name with control characters say, is not told.
      const told = SwarmEvent.safeParse(event).data;
      if (told === undefined) return;
      redis
        .publish(EVENTS_CHANNEL, JSON.stringify(told))
        .catch((err: unknown) => log.debug({ err }, 'event not published'));
    },
    [Symbol.dispose]: () => redis.disconnect(),
  };
}
