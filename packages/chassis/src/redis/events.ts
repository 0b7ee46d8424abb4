/**
 * Events of the swarm, between the services of this peer over its own Redis. Best effort: events are
 * hints, so nothing waits for them, and those of the time while Redis is away are lost. A message is a list of events.
 */
import { EVENTS_CHANNEL, SwarmEvent } from '@shoal/protocol';
import type { Log } from '../process/log.ts';
import { connectListening, connectRedis } from './connect.ts';

/** Events gather this long for one message while nobody listens; for a listener those of one turn go together. */
const UNHEARD_GATHER_MS = 500;
/** Events that gather. Past it: more of them are lost, as hints may be. */
const GATHERED_MAX = 4096;

export interface Events extends Disposable {
  publish(event: SwarmEvent): void;
}

/** @param socket The path of Redis' Unix socket. */
export function connectEvents(socket: string, log: Log): Events {
  const use = connectRedis(socket, log);
  const { redis } = use;
  let gathered: SwarmEvent[] = [];
  let isHeard = true;
  let leaving: Disposable | undefined;
  const flush = async (): Promise<void> => {
    const events = gathered;
    gathered = [];
    leaving = undefined;
    try {
      isHeard = (await redis.publish(EVENTS_CHANNEL, JSON.stringify(events))) > 0;
    } catch (err) {
      log.debug({ err }, 'events not published');
    }
  };
  return {
    publish(event) {
      if (redis.status !== 'ready' || gathered.length >= GATHERED_MAX) return;
      gathered.push(event);
      leaving ??= isHeard
        ? setImmediate(() => void flush())
        : setTimeout(() => void flush(), UNHEARD_GATHER_MS).unref();
    },
    [Symbol.dispose]() {
      leaving?.[Symbol.dispose]();
      use[Symbol.dispose]();
    },
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
    const { events, refused } = readEvents(message);
    if (refused > 0) log.warn({ refused }, 'events refused');
    for (const event of events) onEvent(event);
  });
  const ended = (err: unknown) => log.debug({ err }, 'subscription ended before it began');
  return {
    begin: () => redis.subscribe(EVENTS_CHANNEL).then(() => {}, ended),
    rest: () => void redis.unsubscribe(EVENTS_CHANNEL).catch(ended),
    [Symbol.dispose]: () => redis.disconnect(),
  };
}

/** The events in a message, and how many parts of it are none of ours: a name with control characters, say. */
export function readEvents(message: string): { events: SwarmEvent[]; refused: number } {
  const parts = partsOf(message);
  const events = parts
    .map((part) => SwarmEvent.safeParse(part).data)
    .filter((event) => event !== undefined);
  return { events, refused: parts.length - events.length };
}

/** One that is no event of ours, for a message that is no list. */
function partsOf(message: string): readonly unknown[] {
  try {
    const value: unknown = JSON.parse(message);
    return Array.isArray(value) ? value : [undefined];
  } catch {
    return [undefined];
  }
}
