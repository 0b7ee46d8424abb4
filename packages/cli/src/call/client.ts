/** Talks to a peer's gateway. Problems come back as sentences, broken connections too. */
import type { Readable } from 'node:stream';
import {
  type BYTES,
  discoveryRoutes,
  type JsonRoute,
  PROBLEM_TYPE,
  ProblemBody,
  type Route,
  routePath,
  transferRoutes,
} from '@shoal/protocol';
import { Agent, type Dispatcher } from 'undici';
import * as z from 'zod';
import { CommandFailure } from '../failure.ts';

const CONNECT_TIMEOUT_MS = 5000;
/** An upload's answer waits for copies; the service's own deadline is well below this. */
const ANSWER_TIMEOUT_MS = 120_000;
/** An import is read through, and a pin fetched, before the answer begins. */
const SLOW_ANSWER_TIMEOUT_MS = 3_600_000;
/** A download that stands still for this long is given up. */
const SILENCE_TIMEOUT_MS = 60_000;
const PAGE_SIZE = 1000;

export type PeersReply = z.infer<typeof discoveryRoutes.listPeers.reply>;
export type FilesReply = z.infer<typeof discoveryRoutes.listFiles.reply>;

/** A download that has begun: what the peer says of it, and its bytes. */
export interface Download {
  readonly name: string | undefined;
  readonly sizeBytes: number | undefined;
  /** From `Repr-Digest`: hex, of the whole file. */
  readonly sha256: string | undefined;
  readonly body: Readable;
}

interface CallArgs<P extends z.ZodObject, Q extends z.ZodObject, B> {
  readonly params?: z.input<P>;
  readonly query?: z.input<Q>;
  readonly body?: B extends z.ZodType ? z.input<B> : undefined;
}

export interface Client extends AsyncDisposable {
  /** Of the gateway: its origin, and the path of a proxy that it is behind. */
  readonly peerUrl: string;
  /** A path that the peer names, as an address for anybody. */
  urlOf(path: string): string;
  /** Calls a route that answers JSON. @throws CommandFailure */
  call<
    P extends z.ZodObject,
    Q extends z.ZodObject,
    B extends z.ZodType | undefined,
    R extends z.ZodType,
  >(
    route: JsonRoute<P, Q, B, R>,
    args: CallArgs<P, Q, B>,
    options: { signal: AbortSignal },
  ): Promise<z.output<R>>;
  /** All files; with `deleted` the deleted ones that can be brought back instead. */
  listFiles(options: { deleted?: boolean; signal: AbortSignal }): Promise<FilesReply>;
  /** The same for what may take long: a DAG is fetched from elsewhere before the answer begins. */
  callSlow: Client['call'];
  /** Sends a body to a route that takes one, as it comes. @throws CommandFailure */
  upload<R extends z.ZodType>(
    route: Route<z.ZodObject, z.ZodObject, typeof BYTES>,
    reply: R,
    order: {
      readonly query: Readonly<Record<string, unknown>>;
      /** Media type. */
      readonly type: string;
      readonly body: Readable;
      readonly sizeBytes: number | undefined;
    },
    options: { signal: AbortSignal },
  ): Promise<z.output<R>>;
  /** A file; or where what has this hash is to be had, when it is a directory or another DAG. */
  getFile(
    hash: string,
    options: { signal: AbortSignal },
  ): Promise<Download | { readonly location: string }>;
  /** A DAG as a CAR, each block where a walk comes by it. */
  getCar(cid: string, options: { signal: AbortSignal }): Promise<Readable>;
}

/** @param token what the peer wants of those who write; reads go without it too. */
export function createClient(peerUrl: string, token?: string): Client {
  const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const agent = new Agent({
    connect: { timeout: CONNECT_TIMEOUT_MS },
    headersTimeout: ANSWER_TIMEOUT_MS,
    bodyTimeout: SILENCE_TIMEOUT_MS,
  });
  const { origin, pathname } = new URL(peerUrl);
  const before = pathname.replace(/\/$/, '');
  const send = async (
    path: string,
    options: Omit<Dispatcher.RequestOptions, 'path' | 'origin'>,
  ): Promise<Dispatcher.ResponseData> => {
    let answer: Dispatcher.ResponseData;
    try {
      answer = await agent.request({
        origin,
        path: before + path,
        ...options,
        headers: { ...(options.headers as Record<string, string> | undefined), ...authorization },
      });
    } catch (cause) {
      (options.signal as AbortSignal).throwIfAborted(); // always given one, by those below
      if (cause instanceof CommandFailure) throw cause; // of the body that we send
      throw connectionFailure(peerUrl, cause);
    }
    if (answer.statusCode < 400) return answer;
    throw await failureOf(answer, peerUrl);
  };
  const callWithin = async <
    P extends z.ZodObject,
    Q extends z.ZodObject,
    B extends z.ZodType | undefined,
    R extends z.ZodType,
  >(
    headersTimeout: number,
    { method, path, reply }: JsonRoute<P, Q, B, R>,
    args: CallArgs<P, Q, B>,
    { signal }: { signal: AbortSignal },
  ): Promise<z.output<R>> => {
    const { params = {}, query = {}, body } = args;
    const answer = await send(routePath(path, params, query), {
      method,
      signal,
      headersTimeout,
      ...(body === undefined
        ? {}
        : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
    });
    return readReply(reply, await readText(answer, peerUrl, { signal }), peerUrl);
  };
  const call: Client['call'] = (route, args, options) =>
    callWithin(ANSWER_TIMEOUT_MS, route, args, options);
  return {
    peerUrl,
    urlOf: (path) => new URL(before + path, origin).href,
    call,
    async listFiles({ deleted = false, signal }) {
      const files: FilesReply['files'] = [];
      for (let after: string | undefined; ;) {
        const which = deleted ? ({ deleted: 'true' } as const) : {};
        const query = { limit: PAGE_SIZE, after, ...which };
        const page = await call(discoveryRoutes.listFiles, { query }, { signal });
        files.push(...page.files);
        after = page.next;
        if (after === undefined) return { total: page.total, files };
      }
    },
    callSlow: (route, args, options) => callWithin(SLOW_ANSWER_TIMEOUT_MS, route, args, options),
    async upload(route, reply, { query, type, body, sizeBytes }, { signal }) {
      const answer = await send(routePath(route.path, {}, query), {
        method: route.method,
        headers: {
          'content-type': type,
          ...(sizeBytes === undefined ? {} : { 'content-length': String(sizeBytes) }),
        },
        body,
        signal,
        headersTimeout: SLOW_ANSWER_TIMEOUT_MS,
      });
      return readReply(reply, await readText(answer, peerUrl, { signal }), peerUrl);
    },
    async getFile(hash, { signal }) {
      const { path } = transferRoutes.getFile;
      const { headers, body } = await send(routePath(path, { hash }, { download: true }), {
        method: 'GET',
        signal,
      });
      const location = single(headers['location']);
      if (location !== undefined) {
        await body.dump();
        return { location };
      }
      const length = headers['content-length'];
      return {
        name: readFileName(single(headers['content-disposition'])),
        sizeBytes: length === undefined ? undefined : Number(length),
        sha256: readSha256(single(headers['repr-digest'])),
        body,
      };
    },
    async getCar(cid, { signal }) {
      const query = { format: 'car', 'car-dups': 'y', 'car-order': 'dfs' };
      const path = routePath(transferRoutes.getIpfs.path.replace('*', ':cid'), { cid }, query);
      return (await send(path, { method: 'GET', signal })).body;
    },
    [Symbol.asyncDispose]: () => agent.destroy(),
  };
}

/** The file's name in Content-Disposition: `filename*` (RFC 8187) before `filename`. */
export function readFileName(header: string | undefined): string | undefined {
  const extended = /filename\*\s*=\s*UTF-8''([^;]+)/i.exec(header ?? '')?.[1];
  if (extended !== undefined)
    try {
      return decodeURIComponent(extended.trim());
    } catch {
      return undefined; // not percent-encoded UTF-8: the caller has a name of its own
    }
  return /filename\s*=\s*"((?:[^"\\]|\\.)*)"/i.exec(header ?? '')?.[1]?.replace(/\\(.)/g, '$1');
}

/** The sha-256 of Repr-Digest (RFC 9530) in hex. */
export function readSha256(header: string | undefined): string | undefined {
  const base64 = /(?:^|,)\s*sha-256=:([A-Za-z0-9+/]{43}=):/.exec(header ?? '')?.[1];
  return base64 === undefined ? undefined : Buffer.from(base64, 'base64').toString('hex');
}

function readReply<R extends z.ZodType>(reply: R, text: string, peerUrl: string): z.output<R> {
  try {
    return reply.parse(JSON.parse(text));
  } catch (cause) {
    throw new CommandFailure(`${peerUrl} answered, but not as a Shoal peer does`, { cause });
  }
}

/** The body of an answer: a connection may still break while it comes. */
async function readText(
  { body }: Dispatcher.ResponseData,
  peerUrl: string,
  { signal }: { signal: AbortSignal },
): Promise<string> {
  try {
    return await body.text();
  } catch (cause) {
    signal.throwIfAborted();
    throw connectionFailure(peerUrl, cause);
  }
}

async function failureOf(answer: Dispatcher.ResponseData, peerUrl: string): Promise<Error> {
  const text = await answer.body.text();
  if (String(answer.headers['content-type']).startsWith(PROBLEM_TYPE)) {
    const problem = readReply(ProblemBody, text, peerUrl);
    return new CommandFailure(problem.detail ?? problem.title);
  }
  return new CommandFailure(`${peerUrl} answered with status ${answer.statusCode}`);
}

/** What a person can do about a connection that failed. */
export function connectionFailure(peerUrl: string, cause: unknown): CommandFailure {
  const code = (cause as NodeJS.ErrnoException | undefined)?.code ?? '';
  const isAbsent = ['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'UND_ERR_CONNECT_TIMEOUT'];
  const detail = isAbsent.includes(code)
    ? `no peer answers at ${peerUrl}; start one ("shoal peer"), or name another with --peer`
    : `the connection to ${peerUrl} broke (${(cause as Error).message}); try again, or name another peer with --peer`;
  return new CommandFailure(detail, { cause });
}

function single(header: string | string[] | undefined): string | undefined {
  return Array.isArray(header) ? header[0] : header;
}
