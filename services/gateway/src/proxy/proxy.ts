/**
 * The front door: every row of the table is a route here, whose requests are passed on to its service. How many are at
 * once is bounded, and shared among the clients.
 */
import { type Server, Shares, watchReader, watchSender } from '@shoal/chassis';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Agent } from 'undici';
import { passOn, type PassOptions } from './pass-on.ts';
import type { Row } from './table.ts';

/** A service of our own host that doesn't accept within this time is down. */
const CONNECT_TIMEOUT_MS = 2000;
/** Idle connections are closed by us before the service does it, so that none is reused dying. */
const KEEP_ALIVE_MS = 30_000;

export interface ProxyOptions extends PassOptions {
  readonly table: readonly Row[];
  readonly requestsMax: number;
}

/** Mounts every row of the table on a server; disposing ends the connections to the services. */
export function mountProxy(app: Server, options: ProxyOptions): AsyncDisposable {
  const agent = new Agent({
    pipelining: 1,
    keepAliveTimeout: KEEP_ALIVE_MS,
    keepAliveMaxTimeout: KEEP_ALIVE_MS,
    connect: { timeout: CONNECT_TIMEOUT_MS },
  });
  const shares = new Shares({ what: 'requests at once', placesMax: options.requestsMax });

  const pass = async (
    row: Row,
    request: FastifyRequest,
    reply: FastifyReply,
  ): Promise<undefined> => {
    const gone = new AbortController();
    reply.raw.once('close', () => gone.abort(new Error('the client left')));
    using reader = watchReader(reply.raw);
    using sender = watchSender(request.raw);
    const place = await shares.take(request.client, {
      signal: gone.signal,
      isSlow: () => reader.isSlow() || sender.isSlow(),
    });
    options.metrics.requestsOpen.set(shares.size);
    try {
      const { service } = row;
      return await passOn(agent, { service, request, reply, placeSignal: place.signal }, options);
    } finally {
      place[Symbol.dispose]();
      options.metrics.requestsOpen.set(shares.size);
    }
  };

  void app.register(async (scope) => {
    // Bodies of any type and size stay on the socket: `passOn` streams them.
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser('*', (_, __, done) => done(null));
    for (const row of options.table)
      scope.route({
        method: [...row.methods],
        url: row.path,
        config: row.guarded,
        exposeHeadRoute: false,
        handler: (request, reply) => pass(row, request, reply),
      });
  });
  return { [Symbol.asyncDispose]: () => agent.destroy() };
}
