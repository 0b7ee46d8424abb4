/**
 * Puts a route of `protocol` on a server. The audience decides what guards the handler: nothing for `public`; for
 * `peer` a TLS connection of a member, or the proof of the request where the prover takes it; for `any-peer` a TLS
 * connection of any peer; the proof of this very peer for `local`.
 */
import {
  BYTES,
  HashInvalid,
  nameProblemOf,
  PROOF_HEADER,
  PeerId,
  ProofRefused,
  RequestInvalid,
  type Route,
} from '@shoal/protocol';
import type {
  FastifyContextConfig,
  FastifyReply,
  FastifyRequest,
  RouteHandlerMethod,
} from 'fastify';
import * as z from 'zod';
import { rightOfMethod } from '../access/guard.ts';
import type { Prover } from '../client/proof.ts';
import { callerAt, memberAt } from '../tls/accept.ts';
import type { Server } from './server.ts';

/** The reason that a request's signal gives: nobody waits for the answer any more. */
export class CallerLeft extends Error {}

/** The input of a handler: everything parsed, the caller, and a signal that fires when it leaves. */
export interface Call<P extends z.ZodObject, Q extends z.ZodObject, B> {
  readonly params: z.output<P>;
  readonly query: z.output<Q>;
  readonly body: B extends z.ZodType ? z.output<B> : undefined;
  /** The peer that proved itself; our own id on a public route. */
  readonly caller: PeerId;
  readonly signal: AbortSignal;
  /** Ends the work for it: `signal` fires with this reason. */
  readonly abort: (reason: Error) => void;
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
}

export interface Mounting {
  readonly app: Server;
  readonly prover: Prover;
  readonly self: PeerId;
}

/** Mounts a route that answers JSON; the answer is checked against the contract. */
export function mount<
  P extends z.ZodObject,
  Q extends z.ZodObject,
  B extends z.ZodType | typeof BYTES | undefined,
  R extends z.ZodType,
>(
  mounting: Mounting,
  route: Route<P, Q, B, R>,
  handle: (call: Call<P, Q, B>) => Promise<z.input<R>>,
): void {
  mountRaw(mounting, route, async (call) => {
    const answer = route.reply.parse(await handle(call));
    return call.reply.type('application/json').send(JSON.stringify(answer));
  });
}

/**
 * Mounts a route whose handler writes the reply itself. A `BYTES` body is left on
 * `request.raw` for the handler to read; a GET route answers HEAD too.
 */
export function mountRaw<
  P extends z.ZodObject,
  Q extends z.ZodObject,
  B extends z.ZodType | typeof BYTES | undefined,
  R extends z.ZodType | typeof BYTES,
>(
  { app, prover, self }: Mounting,
  route: Route<P, Q, B, R>,
  handle: (call: Call<P, Q, B>) => Promise<unknown>,
): void {
  const handler: RouteHandlerMethod = async (request, reply) => {
    const text = typeof request.body === 'string' ? request.body : undefined;
    const caller = admit(route, request, text);
    // Settings of such a route are in its query: a body that says otherwise must not be passed over.
    if (route.body === undefined && text !== undefined && text !== '')
      throw new RequestInvalid({
        reason: 'this route takes no body: what it takes is in the query',
      });
    const gone = new AbortController();
    reply.raw.once('close', () => {
      if (!reply.raw.writableFinished) gone.abort(new CallerLeft('the caller left'));
    });
    // B decides the type of body; TypeScript can't follow the conditional through a value.
    const body = (
      route.body === undefined || route.body === BYTES ? undefined : parseJson(route.body, text)
    ) as Call<P, Q, B>['body'];
    return handle({
      params: parse(route.params, request.params, 'path'),
      query: parse(route.query, single(request.query), 'query'),
      body,
      caller,
      signal: gone.signal,
      abort: (reason) => gone.abort(reason),
      request,
      reply,
    });
  };
  const admit = ({ audience }: typeof route, request: FastifyRequest, text?: string): PeerId => {
    if (audience === 'public') return self;
    const member = memberAt(request.socket);
    if (audience === 'peer' && member !== undefined) return member;
    if (audience === 'any-peer') {
      const peer = callerAt(request.socket);
      if (peer !== undefined) return peer;
      throw new ProofRefused({ reason: 'it is called by TLS, with the certificate of a peer' });
    }
    const header = request.headers[PROOF_HEADER];
    const caller = prover.check(typeof header === 'string' ? header : undefined, {
      method: request.method,
      path: request.url,
      body: text,
    });
    if (audience === 'local' && caller !== self)
      throw new ProofRefused({ reason: 'only the services of this same peer may call it' });
    return caller;
  };
  void app.register(async (scope) => {
    // Bytes stay on the socket for the handler; JSON is kept as text, since the proof covers it.
    if (route.body === BYTES) {
      // A parser that the service registered itself (of forms) stays.
      scope.removeContentTypeParser(['application/json', 'text/plain']);
      scope.addContentTypeParser('*', (_, __, done) => done(null));
    } else {
      scope.removeAllContentTypeParsers();
      scope.addContentTypeParser('application/json', { parseAs: 'string' }, (_, text, done) =>
        done(null, text),
      );
    }
    scope.route({
      method: route.method === 'GET' ? ['GET', 'HEAD'] : route.method,
      url: route.path,
      exposeHeadRoute: false,
      config: { ...configOf(route), takes: takenBy(route) },
      handler,
    });
  });
}

/** The part of a route that the guard looks at; also for those that are mounted in another way. */
export function configOf({
  audience,
  method,
  right = rightOfMethod(method),
  publicAs,
  checksRoot,
}: Pick<Route, 'audience' | 'method' | 'right' | 'publicAs' | 'checksRoot'>): FastifyContextConfig {
  return { guard: audience === 'public' ? 'token' : 'proof', right, publicAs, checksRoot };
}

/** The media types that a route takes, in words for a person. */
function takenBy({ body, bodyTypes = ['any type'] }: Pick<Route, 'body' | 'bodyTypes'>): string {
  if (body === undefined) return 'no body';
  return body === BYTES ? bodyTypes.join(' or ') : 'application/json';
}

function parse<S extends z.ZodType>(schema: S, value: unknown, where: string): z.output<S> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const name = issue?.path.join('.') ?? '';
  if (where === 'path' && (name === 'hash' || name === 'cid')) {
    const given = (value as Record<string, unknown>)[name];
    throw new HashInvalid({ hash: String(given).slice(0, 100) });
  }
  const problem = issue === undefined ? undefined : nameProblemOf(issue);
  if (problem !== undefined) throw problem;
  throw new RequestInvalid({ reason: `${where} ${name}: ${issue?.message ?? 'is not valid'}` });
}

/** A parameter given twice is a mistake that must not be settled by order. */
function single(query: unknown): Record<string, unknown> {
  const pairs = Object.entries((query ?? {}) as Record<string, unknown>);
  const twice = pairs.find(([, value]) => Array.isArray(value));
  if (twice !== undefined)
    throw new RequestInvalid({ reason: `query ${twice[0]} was given more than once` });
  return Object.fromEntries(pairs);
}

function parseJson<S extends z.ZodType>(schema: S, text: string | undefined): z.output<S> {
  let value: unknown;
  try {
    value = text === undefined || text === '' ? undefined : JSON.parse(text);
  } catch (cause) {
    throw new RequestInvalid({ reason: 'the body is not JSON' }, { cause });
  }
  return parse(schema, value, 'body');
}
