import type { Readable } from 'node:stream';
import type { PeerId } from '@shoal/protocol';
import type { FastifyReply } from 'fastify';
import type { Options } from './options.ts';
import { boundaryOf, type FormPart, readForm } from './read-form.ts';
import { RpcError } from './rpc-error.ts';
import type { Upstream } from './upstream.ts';

/** What a command is given. */
export interface RpcCall {
  readonly self: PeerId;
  readonly options: Options;
  readonly upstream: Upstream;
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

function neverSilent(body: Readable, silenceMaxMs: number): AsyncIterable<Uint8Array> {
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
