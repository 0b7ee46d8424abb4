/**
 * Events of the swarm, between the services of this peer over its own Redis. Best effort: events are
 * hints, so nothing waits for them, and those of the time while Redis is away are lost.
 */
import { EVENTS_CHANNEL, SwarmEvent } from '@shoal/protocol';
import type { Log } from '../process/log.ts';
import { connectListening, connectRedis } from './connect.ts';

export interface Events extends Disposable {
  publish(event: SwarmEvent): void;
}

/** @param socket The path of Redis' Unix socket. */
export function connectEvents(socket: string, log: Log): Events {
  const use = connectRedis(socket, log);
  const { redis } = use;
  return {
    publish(event) {
      if (redis.status !== 'ready') return;
      // Not published when the schema refuses it, a name with control characters say.
      const parsed = SwarmEvent.safeParse(event).data;
      if (parsed === undefined) return;
      redis
        .publish(EVENTS_CHANNEL, JSON.stringify(parsed))
        .catch((err: unknown) => log.debug({ err }, 'event not published'));
    },
    [Symbol.dispose]: () => use[Symbol.dispose](),
  };
}

/** Listens for events, again whenever Redis comes back. A message that is no event of ours is logged. */
export function subscribeEvents(
  socket: string,
  log: Log,
  onEvent: (event: SwarmEvent) => void,
): Disposable {
  const redis = connectListening(socket, log);
  redis.on('message', (_, message) => {
    const event = readEvent(message);
    if (event === undefined) log.warn('event refused');
    else onEvent(event);
  });
  redis
    .subscribe(EVENTS_CHANNEL)
    .catch((err: unknown) => log.debug({ err }, 'subscription ended before it began'));
  return { [Symbol.dispose]: () => redis.disconnect() };
}

/** The event in a message; undefined for what is not one of ours. */
export function readEvent(message: string): SwarmEvent | undefined {
  try {
    return SwarmEvent.safeParse(JSON.parse(message)).data;
  } catch {
    return undefined; // not JSON
  }
}
