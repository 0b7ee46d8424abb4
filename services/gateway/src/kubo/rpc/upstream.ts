/**
 * The services behind the shim, by their own public routes: the shim can do nothing that a client with
 * the token could not do. Bodies are streams both ways.
 */
import type { Clients } from '@shoal/chassis';
import type { Service } from '@shoal/protocol';
import { ServiceUnavailable } from '@shoal/protocol';
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
  /** The answer, whatever its status. @throws ServiceUnavailable when none comes. */
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
  /** The services, as they are asked on behalf of a client. */
  of(client: string): Upstream;
}

export function createUpstream({
  origins,
  clients,
  token,
  answerTimeoutMs,
  uploadAnswerTimeoutMs,
  bodyIdleTimeoutMs,
}: {
  readonly origins: Readonly<Record<Service, string>>;
  readonly clients: Clients;
  readonly token: string;
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

  const askFor = async (
    client: string,
    service: Service,
    { method, path, headers, body }: UpstreamRequest,
    { signal }: { signal: AbortSignal },
  ): Promise<Dispatcher.ResponseData> => {
    const isRead = method === 'GET' || method === 'HEAD';
    const late = new AbortController();
    let timer: NodeJS.Timeout | undefined;
    const expectAnswer = () => {
      const withinMs = isRead ? answerTimeoutMs : uploadAnswerTimeoutMs;
      timer = setTimeout(() => late.abort(new Error('no answer in time')), withinMs);
    };
    // A failure of the body is the caller's, and more telling than the request that it broke.
    let bodyFault: unknown;
    const streamed = async function* (bytes: AsyncIterable<Uint8Array>) {
      try {
        yield* bytes;
      } catch (error) {
        bodyFault = error;
        throw error;
      }
      expectAnswer();
    };
    if (body === undefined || typeof body === 'string') expectAnswer();
    try {
      return await agent.request({
        origin: origins[service],
        method,
        path,
        headers: {
          ...headers,
          ...clients.vouch(client, { method, path }),
          ...(isRead ? {} : { authorization: `Bearer ${token}` }),
        },
        body:
          body === undefined || typeof body === 'string'
            ? (body ?? null)
            : Readable.from(streamed(body), { objectMode: false }),
        headersTimeout: 0, // the timer above: undici's also runs while a slow body is being sent
        bodyTimeout: bodyIdleTimeoutMs,
        signal: AbortSignal.any([signal, late.signal]),
      });
    } catch (cause) {
      signal.throwIfAborted();
      if (bodyFault instanceof Error) throw bodyFault;
      throw new ServiceUnavailable({ service }, { cause });
    } finally {
      clearTimeout(timer);
    }
  };
  const of = (client: string): Upstream => {
    const ask: Upstream['ask'] = (...args) => askFor(client, ...args);
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
