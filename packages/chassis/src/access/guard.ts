/**
 * The guard of all routes of a service: each needs one right, said with the route, else by its method. It is on
 * each service's own port, since the services are reachable without the gateway; a route that a service mounts by
 * itself is guarded unless it says otherwise. Peers and own services prove themselves and need no token for reads.
 *
 * A token for one file is refused wherever the route doesn't say that it looks at which file it is about.
 */
import {
  Cid,
  type PublicRead,
  type Right,
  RightMissing,
  TokenRequired,
  TokenWrong,
} from '@shoal/protocol';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Prover } from '../client/proof.ts';
import type { TokenRights } from '../roster/check-token.ts';
import { isScopedToken } from '../roster/token.ts';
import { type Access, bearerIn, type Judged } from './access.ts';
import { keepPrivate } from './keep-private.ts';
import { provenPeer } from './proven-peer.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The guard: the right by a token as a rule, a proof, or the route's own check. */
    readonly guard?: 'token' | 'proof' | 'own';
    /** The right that it needs; by its method when it doesn't say. */
    readonly right?: Right | 'none';
    /** The kind of read that it is, which may be open although others are not. */
    readonly publicAs?: PublicRead | undefined;
    /** Whether it looks itself whether a token for one file is for this one. */
    readonly checksRoot?: boolean | undefined;
    /** Media types of a body, in words for a person. */
    readonly takes?: string;
  }
  interface FastifyRequest {
    /** The rights of a token with a scope that the request brought; without one it has all that it was let in for. */
    token: TokenRights | undefined;
  }
}

export interface GuardOptions {
  /** Without it everything is open, but to tokens. */
  readonly access: Access | undefined;
  /** Recognises own services by their proof. */
  readonly prover?: Prover | undefined;
}

export function guardRoutes(app: FastifyInstance, { access, prover }: GuardOptions): void {
  app.decorateRequest('token', undefined);
  if (access === undefined) return;
  app.addHook('onRequest', async (request, reply) => {
    const { guard = 'token', publicAs, checksRoot = false } = request.routeOptions.config;
    if (guard === 'own' || request.is404) return;
    const { authorization } = request.headers;
    const given = bearerIn(authorization);
    if (guard === 'proof') {
      // An own service says on whose behalf it asks.
      if (given !== undefined && isScopedToken(given))
        request.token = rightsOf(access.judge(given), undefined);
      return;
    }
    const right = rightFor(request);
    if (right === 'none') return;
    void reply.header('www-authenticate', 'Bearer');
    const judged = access.judge(given);
    if (given !== undefined && isScopedToken(given)) {
      request.token = rightsOf(judged, { right, checksRoot });
      const { hash } = (request.params ?? {}) as { hash?: unknown }; // of most routes about a file
      const isCid = typeof hash === 'string' && Cid.safeParse(hash).success;
      if (isCid && request.token?.only !== undefined && hash !== request.token.only)
        throw new RightMissing({ right, token: request.token.name, only: request.token.only });
    } else if (judged !== 'all') {
      const isOpenly = isRead(request) && right !== 'admin';
      const isClosed = isOpenly ? access.isReadClosed(publicAs) : access.isWriteClosed;
      const isPeer = () => isOpenly && provenPeer(request, prover) !== undefined;
      if (isClosed && !isPeer()) {
        if (authorization === undefined) {
          const swarm = access.swarm();
          throw new TokenRequired({ right, ...(swarm === undefined ? {} : { swarm }) });
        }
        throw new TokenWrong(judged === 'nothing' ? {} : { reason: judged.reason });
      }
    }
    void reply.removeHeader('www-authenticate');
    if (isRead(request) && access.isReadClosed(publicAs)) keepPrivate(reply.raw);
  });
}

/** The right that a method needs where the route says nothing. */
export function rightOfMethod(method: string): Right | 'none' {
  if (method === 'OPTIONS') return 'none'; // a browser that asks whether it may ask
  if (method === 'DELETE') return 'delete';
  return /^(?:GET|HEAD)$/.test(method) ? 'read' : 'write';
}

function rightFor(request: FastifyRequest): Right | 'none' {
  const { method } = request;
  // A library that mounts itself may do what that header says, whatever the method.
  if (!isRead(request) && rightOfMethod(method) !== 'write' && isOverridden(request))
    return 'admin';
  if (method === 'OPTIONS') return 'none';
  return request.routeOptions.config.right ?? rightOfMethod(method);
}

const isOverridden = ({ headers }: FastifyRequest): boolean =>
  headers['x-http-method-override'] !== undefined;

const isRead = (request: FastifyRequest): boolean =>
  /^(?:GET|HEAD|OPTIONS)$/.test(request.method) && !isOverridden(request);

/** @throws TokenWrong, RightMissing */
function rightsOf(
  judged: Judged,
  wanted: { readonly right: Right; readonly checksRoot: boolean } | undefined,
): TokenRights | undefined {
  if (typeof judged === 'string') return undefined;
  const { rights, reason } = judged;
  if (rights === undefined) throw new TokenWrong({ reason });
  if (wanted === undefined) return rights;
  const { right, checksRoot } = wanted;
  if (!rights.may.has(right)) throw new RightMissing({ right, token: rights.name });
  if (rights.only !== undefined && !checksRoot)
    throw new RightMissing({ right, token: rights.name, only: rights.only });
  return rights;
}
