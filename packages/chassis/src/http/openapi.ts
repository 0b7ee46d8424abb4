/** `/openapi.json`: the routes of `protocol`, printed in OpenAPI 3.1. */
import {
  auditRoutes,
  BYTES,
  chunkerRoutes,
  discoveryRoutes,
  gatewayRoutes,
  kuboRoutes,
  loopRoutes,
  peerAudit,
  PROBLEM_TYPE,
  ProblemBody,
  PROOF_HEADER,
  type Route,
  rosterRoutes,
  routingRoutes,
  serverRoutes,
  type Service,
  storageRoutes,
  transferRoutes,
  uploadRoutes,
} from '@shoal/protocol';
import * as z from 'zod';
import { rightOfMethod } from '../access/guard.ts';

const ROUTES: readonly Route[] = [
  chunkerRoutes,
  uploadRoutes,
  storageRoutes,
  transferRoutes,
  discoveryRoutes,
  rosterRoutes,
  routingRoutes,
  gatewayRoutes,
  kuboRoutes,
  loopRoutes,
  auditRoutes,
  { peerAudit },
].flatMap((routes) => Object.values(routes)) as unknown as Route[]; // a union of precise routes, seen as the general one

/** Names of the ways in which a caller says who it is. */
const TOKEN = 'writeToken';
const PASSWORD = 'writeTokenAsPassword';
const PROOF = 'swarmProof';
const SCHEMES = {
  [TOKEN]: {
    type: 'http',
    scheme: 'bearer',
    description:
      'What writes need at a peer that has a token ("shoal token" prints it), and reads where they need one too; or one that an owner of the swarm made, with the right that x-right names.',
  },
  [PASSWORD]: {
    type: 'http',
    scheme: 'basic',
    description: 'The same for clients of Kubo’s RPC: any user, and the token as the password.',
  },
  [PROOF]: {
    type: 'apiKey',
    in: 'header',
    name: PROOF_HEADER,
    description: 'The proof of the swarm key, which the peers of a swarm make for each request.',
  },
};

/** The description of one service; of the gateway, every public route too, since it fronts them all. */
export function describeRoutes(service: Service): Record<string, unknown> {
  const routes = [
    ...ROUTES.filter(
      (route) =>
        (service === 'gateway' && route.audience === 'public') || route.service === service,
    ),
    ...Object.values(serverRoutes(service)),
  ] as readonly Route[]; // as above
  const paths: Record<string, Record<string, unknown>> = {};
  for (const route of routes) {
    const path = route.path.replace(/:(\w+)/g, '{$1}').replace('*', '{path}');
    const reads = route.method === 'GET' ? { head: withoutBodies(operation(route)) } : {};
    const own = route.method === 'HEAD' ? withoutBodies(operation(route)) : operation(route);
    // A HEAD that is more than a GET without its body stands by itself.
    paths[path] = { ...reads, ...paths[path], [route.method.toLowerCase()]: own };
  }
  return {
    openapi: '3.1.0',
    info: { title: `Shoal ${service}`, version: '1' },
    paths,
    components: { securitySchemes: SCHEMES },
  };
}

interface Operation {
  readonly responses: Readonly<Record<string, { readonly description: string }>>;
}

function operation(route: Route): Operation {
  const { headers, replyHeaders = [] } = route;
  return {
    summary: route.summary,
    'x-audience': route.audience,
    ...(route.audience === 'public' ? { 'x-right': rightOf(route) } : {}),
    security: securityOf(route),
    parameters: [
      ...parameters('path', route.params),
      ...parameters('query', route.query),
      ...(headers === undefined ? [] : parameters('header', headers)),
    ],
    ...(route.body === undefined
      ? {}
      : { requestBody: { content: contentOf('input', route.body, route.bodyTypes) } }),
    responses: {
      '2XX': {
        description: 'Done.',
        ...(replyHeaders.length === 0 ? {} : { headers: headersOf(replyHeaders) }),
        content: contentOf('output', route.reply, route.replyTypes),
      },
      ...(hasOtherPlaces(route) ? { '3XX': { description: 'Elsewhere, or as it was.' } } : {}),
      '4XX': refusal('The request, or what it is about.', route),
      '5XX': refusal('This peer cannot serve it now.', route),
    },
  } as Operation;
}

/** The ways to be allowed to ask: each is enough by itself, an empty one lets anybody. */
function securityOf(route: Route): readonly Record<string, []>[] {
  const { audience, token } = route;
  if (audience !== 'public') return [{ [PROOF]: [] }];
  if (token === 'always') return [{ [TOKEN]: [] }, { [PASSWORD]: [] }];
  return rightOf(route) === 'none' ? [] : [{}, { [TOKEN]: [] }];
}

const rightOf = ({ method, right = rightOfMethod(method) }: Route): string => right;

/** As answers to HEAD are. */
function withoutBodies({ responses, ...rest }: Operation): Operation {
  return {
    ...rest,
    responses: Object.fromEntries(
      Object.entries(responses).map(([key, response]) => [
        key,
        { ...response, content: undefined },
      ]),
    ),
  };
}

const headersOf = (names: readonly string[]) =>
  Object.fromEntries(names.map((name) => [name, { schema: { type: 'string' }, required: true }]));

/** Redirects and conditions are those of files: what is served as the media type that it has. */
const hasOtherPlaces = ({ method, reply }: Route): boolean => method === 'GET' && reply === BYTES;

const refusal = (description: string, { refusal: own, problemTypes = [] }: Route) =>
  own === undefined
    ? {
        description: `A problem (RFC 9457): ${description}`,
        content: {
          [PROBLEM_TYPE]: { schema: jsonSchema('output', ProblemBody) },
          ...Object.fromEntries(problemTypes.map((type) => [type, {}])),
        },
      }
    : { description, content: contentOf('output', own) };

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

function parameters(place: 'path' | 'query' | 'header', { shape }: z.ZodObject) {
  return Object.entries(shape).map(([name, value]) => ({
    name: name === '*' ? 'path' : name,
    in: place,
    // Those of a query have defaults.
    required: place === 'path' || (place === 'header' && !z.safeParse(value, undefined).success),
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
