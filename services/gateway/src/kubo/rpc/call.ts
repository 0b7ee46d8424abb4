import type { Readable } from 'node:stream';
import { boundaryOf, type ProvenRequest } from '@shoal/chassis';
import type { PeerId } from '@shoal/protocol';
import type { FastifyReply } from 'fastify';
import type { Options } from './options.ts';
import { misused, RpcError } from './rpc-error.ts';
import type { Upstream } from './upstream.ts';

/** Some four thousand CIDs, with the form around them; a guess. */
const ARGS_MAX_BYTES = 256 * 1024;

/** The input of a command. */
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

/**
 * The arguments of a command that wants some. Kubo's command line sends those that it reads from its
 * standard input as a form, one a line. @throws RpcError
 */
export async function someArgs(call: RpcCall, name: string): Promise<readonly string[]> {
  const { args } = call.options;
  const given = args.length === 0 && isForm(call) ? await argsOf(call) : args;
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

const isForm = ({ contentType }: RpcCall): boolean => boundaryOf(contentType) !== undefined;

/** The lines of a form that is small enough to be held: text, so finding its boundary is cutting it. @throws RpcError */
async function argsOf({ contentType, body, bodyIdleTimeoutMs }: RpcCall): Promise<string[]> {
  const pieces: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const piece of neverSilent(body, bodyIdleTimeoutMs)) {
    sizeBytes += piece.length;
    if (sizeBytes > ARGS_MAX_BYTES)
      throw misused(`arguments in the body have more than ${ARGS_MAX_BYTES} bytes`);
    pieces.push(piece);
  }
  const text = `\r\n${Buffer.concat(pieces).toString()}`; // the first boundary has no line before it
  const [, ...parts] = text.split(`\r\n--${boundaryOf(contentType)}`);
  const end = parts.pop();
  if (end?.startsWith('--') !== true)
    throw misused("arguments in the body can't be read: the form ends without its last boundary");
  const texts = parts.map((part) => part.slice(part.indexOf('\r\n\r\n') + 4));
  return texts
    .join('')
    .split(/\r?\n/)
    .filter((line) => line !== '');
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
