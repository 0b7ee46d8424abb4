/** `/openapi.json`: the routes of `protocol`, printed in OpenAPI 3.1. */
import {
  BYTES,
  chunkerRoutes,
  discoveryRoutes,
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
] as unknown as Route[]; // a union of precise routes, seen as the general one

/** The description of one service; of the gateway, every public route, since it fronts them all. */
export function describeRoutes(service: Service): Record<string, unknown> {
  const routes = ROUTES.filter((route) =>
    service === 'gateway' ? route.audience === 'public' : route.service === service,
  );
  const paths: Record<string, Record<string, unknown>> = {};
  for (const route of routes) {
    const path = route.path.replace(/:(\w+)/g, '{$1}');
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: operation(route) };
  }
  return {
    openapi: '3.1.0',
    info: { title: `Shoal ${service}`, version: '1' },
    paths,
  };
}

function operation(route: Route): Record<string, unknown> {
  const content = (schema: Route['body']) =>
    schema === BYTES || schema === undefined
      ? { 'application/octet-stream': {} }
      : { 'application/json': { schema: jsonSchema(schema) } };
  return {
    summary: route.summary,
    'x-audience': route.audience,
    parameters: [
      ...parameters('path', route.params, true),
      ...parameters('query', route.query, false),
    ],
    ...(route.body === undefined ? {} : { requestBody: { content: content(route.body) } }),
    responses: {
      '2XX': { description: 'Done.', content: content(route.reply) },
      '4XX': {
        description: 'A problem (RFC 9457).',
        content: { [PROBLEM_TYPE]: { schema: jsonSchema(ProblemBody) } },
      },
    },
  };
}

function parameters(place: 'path' | 'query', schema: z.ZodObject, required: boolean) {
  return Object.entries(schema.shape).map(([name, value]) => ({
    name,
    in: place,
    required,
    schema: jsonSchema(value as z.ZodType),
  }));
}

const jsonSchema = (schema: z.ZodType) =>
  z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' });
