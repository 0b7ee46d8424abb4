/** The routes by which every service tells about itself, and the events of the gateway. */
import * as z from 'zod';
import { type Service, SERVICES } from '../member.ts';
import { BYTES, type Route, route } from '../route.ts';

const shared = {
  audience: 'public',
  method: 'GET',
  params: z.object({}),
  query: z.object({}),
  body: undefined,
} as const satisfies Partial<Route>;

/** The routes of a server that are mounted with it, whatever its service. */
export const serverRoutes = (service: Service) =>
  ({
    health: route({
      ...shared,
      service,
      right: 'none',
      path: '/healthz',
      summary: 'The process lives.',
      reply: z.object({ status: z.literal('alive'), service: z.enum(SERVICES) }),
    }),
    readiness: route({
      ...shared,
      service,
      right: 'none',
      path: '/readyz',
      summary:
        'Whether it can serve; 503 with the reason when it can’t, and `needsPerson` when waiting does not help.',
      reply: z.object({
        status: z.literal('ready'),
        service: z.enum(SERVICES),
        /** News for a person; absent when there is none. */
        notices: z.array(z.string()).optional(),
      }),
      problemTypes: ['application/json'],
    }),
    metrics: route({
      ...shared,
      service,
      path: '/metrics',
      summary: 'Its figures, in the Prometheus format.',
      reply: BYTES,
      replyTypes: ['text/plain'],
    }),
    description: route({
      ...shared,
      service,
      right: 'none',
      path: '/openapi.json',
      summary: 'Its routes, in OpenAPI 3.1: this document.',
      reply: z.looseObject({ openapi: z.string() }),
    }),
  }) as const;

export const gatewayRoutes = {
  events: route({
    ...shared,
    service: 'gateway',
    path: '/events',
    summary:
      'What happens in the swarm, as server-sent events. They are hints: /files and /peers know what is.',
    reply: BYTES,
    replyTypes: ['text/event-stream'],
  }),
} as const;
