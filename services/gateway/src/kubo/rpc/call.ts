import type { Readable } from 'node:stream';
import { boundaryOf as readBoundary, type ProvenRequest } from '@shoal/chassis';
import type { PeerId } from '@shoal/protocol';
import type { FastifyReply } from 'fastify';
import type { Options } from './options.ts';
import { boundaryOf, type FormPart, readForm } from './read-form.ts';
import { misused, RpcError } from './rpc-error.ts';
import type { Upstream } from './upstream.ts';

/** Some four thousand CIDs; a guess. */
const ARGS_MAX_BYTES = 256 * 1024;

/** What a command is given. */
export interface RpcCall {
  readonly self: PeerId;
  readonly options: Options;
  readonly upstream: Upstream;
  /** Headers for a route of the peer's own services alone. */
  readonly prove: (request: ProvenRequest) => Record<string, string>;
  readonly contentType: string | undefined;
  readonly body: Readable;
  readonly reply: FastifyReply;
  /** Fires when the caller leaves. */
  readonly signal: AbortSignal;
  /** Longest silence in the middle of a body. */
  readonly bodyIdleTimeoutMs: number;
}

/** Answers by what it writes to the reply, or by a value that is the whole answer. */
export type RpcCommand = (call: RpcCall) => Promise<unknown>;

/** The parts of the form that was sent. @throws RpcError */
export function readParts(call: RpcCall): AsyncGenerator<FormPart, void> {
  const { contentType, body, bodyIdleTimeoutMs } = call;
  return readForm(neverSilent(body, bodyIdleTimeoutMs), boundaryOf(contentType));
}

/**
 * The arguments of a command that wants some. Kubo's command line sends those that it reads from its
 * standard input as a form, one a line. @throws RpcError
 */
export async function someArgs(call: RpcCall, name: string): Promise<readonly string[]> {
  const { args } = call.options;
  const given = args.length === 0 && isForm(call) ? await linesOf(readParts(call)) : args;
  if (given.length === 0 || given.includes('')) throw misused(`argument "${name}" is required`);
  return given;
}

/** The one argument of a command. @throws RpcError */
export async function onlyArg(call: RpcCall, name: string): Promise<string> {
  const [arg = '', ...more] = await someArgs(call, name);
  if (more.length > 0) throw misused(`expected one argument "${name}", got ${more.length + 1}`);
  return arg;
}

/** Asks the gateway of this peer, or what it has itself (`offline`). */
export const ask = ({ options, upstream, signal }: RpcCall, path: string, headers = {}) =>
  upstream.ask(
    'transfer',
    { method: 'GET', path, headers: { ...headers, ...cachePolicy(options) } },
    { signal },
  );

/** `offline` asks for what is on this peer alone. */
export const cachePolicy = (options: Options): Record<string, string> =>
  options.flag('offline', false) ? { 'cache-control': 'only-if-cached' } : {};

const isForm = ({ contentType }: RpcCall): boolean => readBoundary(contentType) !== undefined;

async function linesOf(parts: AsyncIterable<FormPart>): Promise<string[]> {
  const pieces: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const { body } of parts)
    for await (const piece of body) {
      sizeBytes += piece.length;
      if (sizeBytes > ARGS_MAX_BYTES)
        throw misused(`arguments in the body have more than ${ARGS_MAX_BYTES} bytes`);
      pieces.push(piece);
    }
  const text = Buffer.concat(pieces).toString();
  return text.split(/\r?\n/).filter((line) => line !== '');
}

/** A body that fails when it stands still for too long. @throws RpcError 408 */
export function neverSilent(body: Readable, silenceMaxMs: number): AsyncIterable<Uint8Array> {
  const source: AsyncIterator<Uint8Array> = body[Symbol.asyncIterator]();
  const next = async (): Promise<IteratorResult<Uint8Array, undefined>> => {
    const { promise: silence, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(
      () => reject(new RpcError(408, 'the body stood still for too long')),
      silenceMaxMs,
    );
    try {
      return await Promise.race([source.next(), silence]);
    } finally {
      clearTimeout(timer);
    }
  };
  return { [Symbol.asyncIterator]: () => ({ next }) };
}
