/** Calls of the routes that protocol declares. */
import {
  type BYTES,
  type JsonRoute,
  readAnswer,
  refusalIn,
  type Route,
  routePath,
} from '@shoal/protocol';
import type * as z from 'zod';
import { type Body, exchange, NoAnswer, type Send } from './exchange.ts';

/** An answer; a Response of fetch is one. */
export interface Answer<Bytes = AsyncIterable<Uint8Array>> {
  readonly status: number;
  readonly headers: { get(name: string): string | null };
  readonly body: Bytes;
  text(): Promise<string>;
}

/** How and as whom a peer is asked. */
export interface CallOptions<Bytes = unknown> {
  readonly signal: AbortSignal;
  readonly send: Send<Answer<Bytes>>;
  /** For writes at a peer that requires one; sent with reads too, which need none. */
  readonly token?: string | undefined;
  /** Longest wait for the answer, from the last byte of the body. Default: two minutes. */
  readonly answerTimeoutMs?: number | undefined;
}

/**
 * An answer may wait for copies; a peer's own deadline for them is well below this.
 * Past it: the call fails; the peer goes on.
 */
const ANSWER_TIMEOUT_MS = 120_000;

export interface CallArgs<P extends z.ZodObject, Q extends z.ZodObject, B> {
  readonly params?: z.input<P>;
  readonly query?: z.input<Q>;
  readonly body?: B extends z.ZodType ? z.input<B> : undefined;
}

/**
 * Calls a route that answers JSON.
 * @param origin Of the gateway, with the path of the proxy that it is behind, if any; no final slash.
 * @throws Problem as the peer threw it; ForeignAnswer; NoAnswer; the reason of `signal`.
 */
export async function call<
  P extends z.ZodObject,
  Q extends z.ZodObject,
  B extends z.ZodType | undefined,
  R extends z.ZodType,
>(
  origin: string,
  { method, path, reply }: JsonRoute<P, Q, B, R>,
  { params, query, body }: CallArgs<P, Q, B>,
  options: CallOptions,
): Promise<z.output<R>> {
  const json =
    body === undefined
      ? {}
      : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
  const asked = routePath(path, params ?? {}, query);
  return readJson(reply, await ask(origin, { method, path: asked, ...json }, options), {
    asked: `${method} ${asked}`,
    signal: options.signal,
  });
}

/** A request to a route that takes bytes. */
export interface BytesOrder {
  readonly params?: Readonly<Record<string, unknown>>;
  readonly query: Readonly<Record<string, unknown>>;
  /** Media type. */
  readonly type: string;
  readonly body: AsyncIterable<Uint8Array>;
  /** Undefined when it is not known before its end. */
  readonly sizeBytes: number | undefined;
}

/** Sends bytes, as they come, to a route that answers JSON. @throws as `call`, and what the body throws. */
export async function sendBytes<R extends z.ZodType>(
  origin: string,
  { method, path }: Route<z.ZodObject, z.ZodObject, typeof BYTES>,
  reply: R,
  { params = {}, query, type, body, sizeBytes }: BytesOrder,
  options: CallOptions,
): Promise<z.output<R>> {
  const length = sizeBytes === undefined ? {} : { 'content-length': String(sizeBytes) };
  const headers = { 'content-type': type, ...length };
  const asked = routePath(path, params, query);
  return readJson(reply, await ask(origin, { method, path: asked, headers, body }, options), {
    asked: `${method} ${asked}`,
    signal: options.signal,
  });
}

/** An answer that refuses nothing, its body unread. @throws as `call` */
export async function ask<Bytes>(
  origin: string,
  {
    method = 'GET',
    path,
    headers,
    body,
  }: {
    readonly method?: string;
    /** With its query. */
    readonly path: string;
    readonly headers?: Readonly<Record<string, string>>;
    readonly body?: Body | undefined;
  },
  { signal, send, token, answerTimeoutMs = ANSWER_TIMEOUT_MS }: CallOptions<Bytes>,
): Promise<Answer<Bytes>> {
  const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const request = { method, headers: { ...headers, ...authorization }, body };
  const url = origin + path;
  const answer = await exchange(send, url, request, { signal, answerTimeoutMs });
  if (answer.status < 400) return answer;
  const { status } = answer;
  throw refusalIn(
    { status, type: typeOf(answer), text: await textOf(answer, url, { signal }) },
    `${method} ${path}`,
  );
}

async function readJson<R extends z.ZodType>(
  reply: R,
  answer: Answer<unknown>,
  { asked, signal }: { asked: string; signal: AbortSignal },
): Promise<z.output<R>> {
  const text = await textOf(answer, asked, { signal });
  return readAnswer(reply, { status: answer.status, type: typeOf(answer), text }, asked);
}

/** The body of an answer: a connection may still break while it comes. */
async function textOf(
  answer: Answer<unknown>,
  asked: string,
  { signal }: { signal: AbortSignal },
): Promise<string> {
  try {
    return await answer.text();
  } catch (cause) {
    signal.throwIfAborted();
    throw new NoAnswer(asked, { cause });
  }
}

const typeOf = ({ headers }: Answer<unknown>): string | undefined =>
  headers.get('content-type') ?? undefined;
