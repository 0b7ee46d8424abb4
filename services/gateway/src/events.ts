/**
 * `GET /events`: what happens in the swarm, as server-sent events (WHATWG HTML §9.2).
 *
 * Events come over the local Redis and are hints: a client that missed some, because Redis or the
 * connection was away, asks `/files` and `/peers`, which know. So nothing is kept or repeated here, and a
 * listener that reads too slowly is cut off, not buffered for; its browser comes back by itself.
 */
import type { ServerResponse } from 'node:http';
import { type Log, type Loops, type Server, Shares } from '@shoal/chassis';
import { listenToEvents } from '@shoal/chassis/events';
import { gatewayRoutes, type SwarmEvent } from '@shoal/protocol';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Metrics } from './metrics.ts';

/** Unread bytes of one listener: some hundred events, which is minutes of a busy swarm. */
const BACKLOG_MAX_BYTES = 256 * 1024;
/** Longest wait of the first listener for the subscription. Past it: it is answered, and told what comes once Redis is back. */
const SUBSCRIBE_TIMEOUT_MS = 500;
/** How long a browser waits before it reconnects, in milliseconds. */
const RETRY_MS = 2000;
const HEADERS = {
  'content-type': 'text/event-stream',
  'cache-control': 'no-store',
  'x-accel-buffering': 'no',
  'x-content-type-options': 'nosniff',
};

export interface EventsOptions {
  readonly redisSocket: string;
  readonly clientsMax: number;
  readonly heartbeatMs: number;
  readonly loops: Loops;
  readonly log: Log;
  readonly metrics: Metrics;
}

/** Mounts the route, and listens to Redis while somebody listens to us; disposing ends every listener. */
export function startEvents(app: Server, options: EventsOptions): Disposable {
  const { clientsMax, heartbeatMs, loops, log, metrics } = options;
  const clients = new Set<ServerResponse>();
  // A listener that gives way comes back by itself: nobody is kept waiting for it.
  const shares = new Shares({ what: 'listeners of /events', placesMax: clientsMax, graceMs: 0 });

  const broadcast = (text: string) => {
    for (const client of clients) {
      if (client.writableLength > BACKLOG_MAX_BYTES) {
        metrics.eventsDropped.inc();
        client.destroy();
      } else client.write(text);
    }
  };
  let isOver = false;
  const endAll = () => {
    isOver = true;
    for (const client of clients) client.end();
  };
  const events = listenToEvents(options.redisSocket, log, (event) => broadcast(eventText(event)));
  /** Listeners, those too that wait for their head. */
  let wanting = 0;
  let begun: Promise<void> | undefined;
  const listen = (): Promise<void> => (begun ??= events.begin());
  const rest = (): void => {
    begun = undefined;
    events.rest();
  };

  app.get(gatewayRoutes.events.path, async (request, reply) => {
    const { raw } = reply;
    if (request.method === 'HEAD') {
      reply.hijack();
      return void raw.writeHead(200, HEADERS).end(); // there is nothing to listen to
    }
    const gone = new AbortController();
    raw.once('close', () => gone.abort(new Error('the listener left')));
    const place = await shares.take(request.client, { signal: gone.signal });
    raw.once('close', () => place[Symbol.dispose]());
    reply.hijack();
    if (raw.destroyed) return place[Symbol.dispose]();
    place.signal.addEventListener('abort', () => {
      metrics.eventsDropped.inc();
      raw.destroy();
    });
    wanting += 1;
    raw.once('close', () => {
      clients.delete(raw);
      metrics.eventsClients.set(clients.size);
      wanting -= 1;
      if (wanting === 0) rest();
    });
    // From its head on a listener misses nothing.
    await Promise.race([listen(), sleep(SUBSCRIBE_TIMEOUT_MS)]);
    if (raw.destroyed || isOver) return void raw.destroy();
    raw.writeHead(200, HEADERS);
    raw.write(`retry: ${RETRY_MS}\n\n`);
    clients.add(raw);
    metrics.eventsClients.set(clients.size);
    return undefined;
  });
  // A stream without an end would hold the server's close up.
  app.addHook('preClose', async () => endAll());
  const heartbeat = loops.start({
    name: 'events-heartbeat',
    everyMs: () => heartbeatMs,
    run: () => broadcast(': alive\n\n'),
  });
  return {
    [Symbol.dispose]() {
      heartbeat[Symbol.dispose]();
      events[Symbol.dispose]();
      endAll();
    },
  };
}

/** One event in the wire's words. */
export const eventText = (event: SwarmEvent): string =>
  `event: ${event.kind}\ndata: ${JSON.stringify(event)}\n\n`;
