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

export interface Listening extends Disposable {
  /** Resolves when events come in. While Redis is away that takes until it is back. */
  begin(): Promise<void>;
  /** No event is of use until the next `begin`: none is read, or even sent here. */
  rest(): void;
}

/** Listens for events when asked to, again whenever Redis comes back. A message that is no event of ours is logged. */
export function listenToEvents(
  socket: string,
  log: Log,
  onEvent: (event: SwarmEvent) => void,
): Listening {
  const redis = connectListening(socket, log);
  redis.on('message', (_, message) => {
    const event = readEvent(message);
    if (event === undefined) log.warn('event refused');
    else onEvent(event);
  });
  const ended = (err: unknown) => log.debug({ err }, 'subscription ended before it began');
  return {
    begin: () => redis.subscribe(EVENTS_CHANNEL).then(() => {}, ended),
    rest: () => void redis.unsubscribe(EVENTS_CHANNEL).catch(ended),
    [Symbol.dispose]: () => redis.disconnect(),
  };
}

/** The event in a message; undefined for what is not one of ours. */
export function readEvent(message: string): SwarmEvent | undefined {
  try {
    return SwarmEvent.safeParse(JSON.parse(message)).data;
  } catch {
    return undefined; // not JSON
  }
}
