/**
 * The one door to other services, our own and other peers'. Every call has a deadline, follows no redirect, and goes
 * only to an address from a signed member record (or from our own configuration). Own services get the proof with each
 * request; other peers are called by TLS, where the connection proves both ends, unless PEER_TLS is off.
 */
import {
  type BYTES,
  type PeerId,
  readAnswer,
  type Route,
  routePath,
  type Service,
  ServiceUnavailable,
} from '@shoal/protocol';
import { Agent, type Dispatcher } from 'undici';
import type * as z from 'zod';
import { Deadline } from '../process/deadline.ts';
import { orAborted } from '../process/or-aborted.ts';
import type { PeerTls } from '../tls/peer-tls.ts';
import { createByteClient } from './byte-client.ts';
import type { ByteRequest } from './connection.ts';
import { createPeerPools } from './peer-pools.ts';
import type { Prover } from './proof.ts';
import type { Target } from './target.ts';

/**
 * Connections to one origin: more gave nothing on loopback (docs/decisions).
 * Past it: requests wait for one.
 */
const CONNECTIONS_PER_ORIGIN = 8;
/** A connection that is not there after this long counts as a refusal. Past it: counts as a refusal. */
const CONNECT_TIMEOUT_MS = 2000;
/**
 * A longer answer is broken off: the longest honest one is a list of have-maps. Blocks come another way.
 * Past it: 503 `service-unavailable`.
 */
const ANSWER_MAX_BYTES = 64 * 1024 * 1024;
/** Idle connections are closed by us before the server does it, so that none is reused dying. */
const KEEP_ALIVE_MS = 30_000;
/**
 * Longest wait for a JSON answer, unless the caller's signal fires before.
 * Past it: 503 `service-unavailable`.
 */
export const CALL_TIMEOUT_MS = 15_000;

export interface PeerClient extends AsyncDisposable {
  /** A service of this very peer. */
  own(service: Service): Target;
  /** Calls a JSON route. @throws Problem as the other side threw it; ServiceUnavailable when it does not answer. */
  call<
    P extends z.ZodObject,
    Q extends z.ZodObject,
    B extends z.ZodType | undefined,
    R extends z.ZodType,
  >(
    target: Target,
    route: Route<P, Q, B, R>,
    args: CallArgs<P, Q, B>,
    options: { signal: AbortSignal; timeoutMs?: number },
  ): Promise<z.output<R>>;
  /** Sends bytes to a route that answers JSON. */
  send<P extends z.ZodObject, Q extends z.ZodObject, R extends z.ZodType>(
    target: Target,
    route: Route<P, Q, typeof BYTES, R>,
    args: CallArgs<P, Q, undefined> & { readonly bytes: Uint8Array },
    options: { signal: AbortSignal; timeoutMs?: number },
  ): Promise<z.output<R>>;
  /** Gets bytes into the caller's own buffer: see byte-client.ts. */
  receive(
    target: Target,
    path: string,
    request: Pick<ByteRequest, 'onHead' | 'stallMs' | 'signal'>,
  ): Promise<void>;
}

interface CallArgs<P extends z.ZodObject, Q extends z.ZodObject, B> {
  readonly params?: z.input<P>;
  readonly query?: z.input<Q>;
  readonly body?: B extends z.ZodType ? z.input<B> : undefined;
}

export function createPeerClient(deps: {
  readonly prover: Prover;
  readonly self: PeerId;
  readonly own: Readonly<Record<Service, string>>;
  /** By which other peers are called; without it they are called plainly, with the proof. */
  readonly tls?: PeerTls | undefined;
}): PeerClient {
  const options = {
    connections: CONNECTIONS_PER_ORIGIN,
    pipelining: 1,
    keepAliveTimeout: KEEP_ALIVE_MS,
    keepAliveMaxTimeout: KEEP_ALIVE_MS,
    maxResponseSize: ANSWER_MAX_BYTES,
    // Each call has a deadline of its own. With these undici's clock would tick twice a second for as long as
    // one waits, and one always does: the long poll for members.
    headersTimeout: 0,
    bodyTimeout: 0,
  };
  const agent = new Agent({ ...options, connect: { timeout: CONNECT_TIMEOUT_MS } });
  const secure = deps.tls && {
    tls: deps.tls,
    pools: createPeerPools(deps.tls, { ...options, connectTimeoutMs: CONNECT_TIMEOUT_MS }),
  };
  const bytes = createByteClient(CONNECTIONS_PER_ORIGIN, CONNECT_TIMEOUT_MS);

  const ownOrigins = new Set(Object.values(deps.own));
  /** By TLS to other peers, and to another process under our own identity; undefined: plainly, with the proof. */
  const secureWay = ({ peerId, origin, hasTls }: Target, service: Service): typeof secure => {
    if (peerId === deps.self && ownOrigins.has(origin)) return undefined;
    if (secure !== undefined && hasTls === false)
      throw new ServiceUnavailable(
        { service },
        {
          cause: new Error(
            `${peerId} at ${origin} has PEER_TLS=off, and this peer talks plainly to none: set it to on there, or to off at all peers`,
          ),
        },
      );
    if (secure?.tls.membership.isAllowed(peerId) === false)
      throw new ServiceUnavailable(
        { service },
        { cause: new Error(`${peerId} is not on the roster of this swarm`) },
      );
    return secure;
  };

  const request = async <R extends z.ZodType>(
    target: Target,
    { method, service, reply }: { method: string; service: Service; reply: R },
    path: string,
    body: Uint8Array | string | undefined,
    { signal, timeoutMs = CALL_TIMEOUT_MS }: { signal: AbortSignal; timeoutMs?: number },
  ): Promise<z.output<R>> => {
    const way = secureWay(target, service);
    using deadline = new Deadline(timeoutMs, signal);
    const isJson = typeof body === 'string';
    let answer: Dispatcher.ResponseData;
    let text: string;
    try {
      const asking = (way?.pools.to(target) ?? agent).request({
        origin: target.origin,
        path,
        method: method as Dispatcher.HttpMethod,
        headers: {
          ...(way === undefined &&
            deps.prover.prove(target.peerId, { method, path, body: isJson ? body : undefined })),
          ...(body === undefined
            ? {}
            : { 'content-type': isJson ? 'application/json' : 'application/octet-stream' }),
        },
        body: body ?? null,
        signal: deadline.signal,
      });
      // undici ends a request that has no connection yet with the attempt to get one, of which others may come before;
      // it sends nothing of one whose signal has fired.
      answer = await orAborted(asking, deadline.signal);
      text = await answer.body.text();
    } catch (cause) {
      signal.throwIfAborted();
      throw new ServiceUnavailable({ service }, { cause });
    }
    const { statusCode: status, headers } = answer;
    const type = String(headers['content-type']);
    const asked = `${method} ${path.split('?')[0]} of ${target.peerId}`;
    return readAnswer(reply, { status, type, text }, asked);
  };

  return {
    own: (service) => ({ peerId: deps.self, origin: deps.own[service] }),
    call: (target, route, { params, query, body }, options) =>
      request(
        target,
        route,
        routePath(route.path, params ?? {}, query),
        body === undefined ? undefined : JSON.stringify(body),
        options,
      ),
    send: (target, route, { params, query, bytes }, options) =>
      request(target, route, routePath(route.path, params ?? {}, query), bytes, options),
    async receive(target, path, options) {
      const way = secureWay(target, 'storage');
      const { peerId, origin } = target;
      await bytes.get({
        ...options,
        origin,
        path,
        secure: way && { peerId, tls: way.tls },
        headers: way === undefined ? deps.prover.prove(peerId, { method: 'GET', path }) : {},
      });
    },
    async [Symbol.asyncDispose]() {
      bytes[Symbol.dispose]();
      await Promise.all([agent.destroy(), secure?.pools[Symbol.asyncDispose]()]);
    },
  };
}
