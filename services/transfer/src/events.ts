/** What this service did, told to the watchers of this peer. Best effort: nothing waits for it. */
import type { Log } from '@shoal/chassis';
import { connectRedis } from '@shoal/chassis/queue';
import { EVENTS_CHANNEL, SwarmEvent } from '@shoal/protocol';

export interface Events extends Disposable {
  publish(event: SwarmEvent): void;
}

export function connectEvents(socket: string, log: Log): Events {
  const redis = connectRedis(socket, log);
  return {
    publish(event) {
      if (redis.status !== 'ready') return;
      redis
        .publish(EVENTS_CHANNEL, JSON.stringify(SwarmEvent.parse(event)))
        .catch((err: unknown) => log.debug({ err }, 'event not published'));
    },
    [Symbol.dispose]: () => redis.disconnect(),
  };
}
