/**
 * The services behind the shim, by their own public routes: the shim can do nothing that a client with
 * the token could not do. Bodies are streams both ways.
 */
import type { Clients } from '@shoal/chassis';
import type { Service } from '@shoal/protocol';
import { ServiceUnavailable } from '@shoal/protocol';
import { exchange, NoAnswer, partsOf, type Send } from '@shoal/sdk';
import { Readable } from 'node:stream';
import { Agent, type Dispatcher } from 'undici';
import type * as z from 'zod';
import { failureOf } from './rpc-error.ts';

const CONNECT_TIMEOUT_MS = 2000;
const KEEP_ALIVE_MS = 30_000;

export interface UpstreamRequest {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'DELETE';
  /** Path with query. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | AsyncIterable<Uint8Array>;
}

export interface Upstream {
  /** The answer, of any status. @throws ServiceUnavailable when none comes. */
  ask(
    service: Service,
    request: UpstreamRequest,
    options: { signal: AbortSignal },
  ): Promise<Dispatcher.ResponseData>;
  /** The JSON of a good answer. @throws RpcError with what the service refused. */
  json<R extends z.ZodType>(
    service: Service,
    request: UpstreamRequest & { readonly reply: R },
    options: { signal: AbortSignal },
  ): Promise<z.output<R>>;
}

/** The connections that all calls share. */
export interface Upstreams extends AsyncDisposable {
  /** The services, as they are asked on behalf of a client, with the token that it brought. */
  of(client: string, token: string): Upstream;
}

export function createUpstream({
  origins,
  clients,
  answerTimeoutMs,
  uploadAnswerTimeoutMs,
  bodyIdleTimeoutMs,
}: {
  readonly origins: Readonly<Record<Service, string>>;
  readonly clients: Clients;
  readonly answerTimeoutMs: number;
  /** From the last byte of a body. */
  readonly uploadAnswerTimeoutMs: number;
  readonly bodyIdleTimeoutMs: number;
}): Upstreams {
  const agent = new Agent({
    pipelining: 1,
    keepAliveTimeout: KEEP_ALIVE_MS,
    keepAliveMaxTimeout: KEEP_ALIVE_MS,
    connect: { timeout: CONNECT_TIMEOUT_MS },
  });

  const send: Send<Dispatcher.ResponseData> = (url, { method, headers, body, signal }) => {
    return agent.request({
      ...partsOf(url),
      method: method as Dispatcher.HttpMethod, // of an UpstreamRequest
      headers,
      body: typeof body === 'object' ? Readable.from(body, { objectMode: false }) : (body ?? null),
      headersTimeout: 0, // that of `exchange` doesn't run while a slow body is being sent
      bodyTimeout: bodyIdleTimeoutMs,
      signal,
    });
  };
  const askFor = async (
    { client, token }: { readonly client: string; readonly token: string },
    service: Service,
    { method, path, headers, body }: UpstreamRequest,
    { signal }: { signal: AbortSignal },
  ): Promise<Dispatcher.ResponseData> => {
    const isRead = method === 'GET' || method === 'HEAD';
    const all = {
      ...headers,
      ...clients.vouch(client, { method, path }),
      authorization: `Bearer ${token}`,
    };
    try {
      return await exchange(
        send,
        origins[service] + path,
        { method, headers: all, body },
        { signal, answerTimeoutMs: isRead ? answerTimeoutMs : uploadAnswerTimeoutMs },
      );
    } catch (error) {
      if (!(error instanceof NoAnswer)) throw error;
      throw new ServiceUnavailable({ service }, { cause: error.cause });
    }
  };
  const of = (client: string, token: string): Upstream => {
    const ask: Upstream['ask'] = (...args) => askFor({ client, token }, ...args);
    return {
      ask,
      async json(service, { reply, ...request }, options) {
        const answer = await ask(service, request, options);
        if (answer.statusCode >= 300) throw await failureOf(answer);
        return reply.parse(await answer.body.json());
      },
    };
  };
  return { of, [Symbol.asyncDispose]: () => agent.destroy() };
}
