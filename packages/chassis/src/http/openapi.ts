/** `/openapi.json`: the routes of `protocol`, printed in OpenAPI 3.1. */
import {
  BYTES,
  chunkerRoutes,
  discoveryRoutes,
  loopRoutes,
  PROBLEM_TYPE,
  ProblemBody,
  type Route,
  routingRoutes,
  type Service,
  storageRoutes,
  transferRoutes,
} from '@shoal/protocol';
import * as z from 'zod';

const ROUTES: readonly Route[] = [
  ...Object.values(chunkerRoutes),
  ...Object.values(storageRoutes),
  ...Object.values(transferRoutes),
  ...Object.values(discoveryRoutes),
  ...Object.values(routingRoutes),
  ...Object.values(loopRoutes),
] as unknown as Route[]; // a union of precise routes, seen as the general one

/** The description of one service; of the gateway, every public route, since it fronts them all. */
export function describeRoutes(service: Service): Record<string, unknown> {
  const routes = ROUTES.filter((route) =>
    service === 'gateway' ? route.audience === 'public' : route.service === service,
  );
  const paths: Record<string, Record<string, unknown>> = {};
  for (const route of routes) {
    const path = route.path.replace(/:(\w+)/g, '{$1}').replace('*', '{path}');
    const reads = route.method === 'GET' ? { head: headOperation(route) } : {};
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: operation(route), ...reads };
  }
  return {
    openapi: '3.1.0',
    info: { title: `Shoal ${service}`, version: '1' },
    paths,
  };
}

function operation(route: Route): Record<string, unknown> {
  return {
    summary: route.summary,
    'x-audience': route.audience,
    parameters: [
      ...parameters('path', route.params, true),
      ...parameters('query', route.query, false),
    ],
    ...(route.body === undefined
      ? {}
      : { requestBody: { content: contentOf('input', route.body, route.bodyTypes) } }),
    responses: {
      '2XX': { description: 'Done.', content: contentOf('output', route.reply, route.replyTypes) },
      ...(hasOtherPlaces(route) ? { '3XX': { description: 'Elsewhere, or as it was.' } } : {}),
      '4XX': problem('A problem (RFC 9457): the request, or what it is about.', route.problemTypes),
      '5XX': problem('A problem (RFC 9457): this peer cannot serve it now.', route.problemTypes),
    },
  };
}

/** The same without bodies. */
function headOperation(route: Route): Record<string, unknown> {
  const { responses, ...rest } = operation(route);
  // As `operation` made it.
  const statuses = Object.entries(responses as Record<string, { description: string }>);
  return {
    ...rest,
    responses: Object.fromEntries(statuses.map(([key, { description }]) => [key, { description }])),
  };
}

/** Redirects and conditions are those of files: what is served as the media type that it has. */
const hasOtherPlaces = ({ method, reply }: Route): boolean => method === 'GET' && reply === BYTES;

const problem = (description: string, others: readonly string[] = []) => ({
  description,
  content: {
    [PROBLEM_TYPE]: { schema: jsonSchema('output', ProblemBody) },
    ...Object.fromEntries(others.map((type) => [type, {}])),
  },
});

function contentOf(
  io: Way,
  schema: Route['body'],
  types: readonly string[] = [isBytes(schema) ? '*/*' : 'application/json'],
): Record<string, object> {
  return Object.fromEntries(
    types.map((type) => [
      type,
      isBytes(schema) || type !== 'application/json' ? {} : { schema: jsonSchema(io, schema) },
    ]),
  );
}

const isBytes = (schema: Route['body']): schema is typeof BYTES | undefined =>
  schema === BYTES || schema === undefined;

function parameters(place: 'path' | 'query', schema: z.ZodObject, required: boolean) {
  return Object.entries(schema.shape).map(([name, value]) => ({
    name: name === '*' ? 'path' : name,
    in: place,
    required,
    // A subtree's slashes are part of it.
    ...(name === '*' ? { allowReserved: true } : {}),
    schema: jsonSchema('input', value as z.ZodType),
  }));
}

/** Whether a schema is of what is sent here, or of what is answered: there, what has a default is always said. */
type Way = 'input' | 'output';

const jsonSchema = (io: Way, schema: z.ZodType) =>
  z.toJSONSchema(schema, {
    io,
    unrepresentable: 'any',
    // A later version may say more: a client must not refuse what it does not know.
    override: ({ zodSchema, jsonSchema: json }) => {
      const { def } = zodSchema._zod;
      if (def.type === 'object' && def.catchall === undefined) delete json.additionalProperties;
    },
  });
