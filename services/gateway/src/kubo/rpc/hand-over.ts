/**
 * Commands that take a form: it goes to the chunker as it comes, which alone cuts it, and says what it makes
 * of each part while it does.
 */
import { boundaryOf } from '@shoal/chassis';
import {
  BLOCK_SIZE_MAX_BYTES,
  BodyTooLarge,
  FileMissing,
  ServiceUnavailable,
} from '@shoal/protocol';
import type { Dispatcher } from 'undici';
import type * as z from 'zod';
import { neverSilent, type RpcCall } from './call.ts';
import { failureOf, misused, RpcError } from './rpc-error.ts';

interface Failed {
  readonly failed: { readonly detail: string };
}

/**
 * Hands the form on; what the chunker says of it.
 * @param wanted What a form without a part lacks.
 * @throws RpcError, ServiceUnavailable
 */
export async function* handOver<Event extends object>(
  { upstream, prove, contentType = '', body, bodyIdleTimeoutMs, signal }: RpcCall,
  path: string,
  events: z.ZodType<Event | Failed>,
  wanted: string,
): AsyncGenerator<Exclude<Event, Failed>, void, undefined> {
  if (boundaryOf(contentType) === undefined)
    throw misused('the body must be a form (multipart/form-data with a boundary)');
  const method = 'POST' as const;
  const form = watched(neverSilent(body, bodyIdleTimeoutMs));
  const headers = { 'content-type': contentType, ...prove({ method, path }) };
  const request = { method, path, headers, body: form.bytes };
  const answer = await upstream.ask('chunker', request, { signal });
  if (answer.statusCode >= 300) throw await refusalOf(answer, wanted);
  try {
    for await (const line of linesOf(answer.body)) {
      const event = events.parse(JSON.parse(line));
      if ('failed' in event) throw new RpcError(500, event.failed.detail);
      yield event as Exclude<Event, Failed>; // the other kind was thrown
    }
  } catch (cause) {
    if (cause instanceof RpcError) throw cause;
    signal.throwIfAborted();
    const fault = form.fault();
    if (fault instanceof Error) throw fault;
    throw new ServiceUnavailable({ service: 'chunker' }, { cause });
  }
}

/** A fault of the form, or of a name in it, in Kubo's words; else a failure. */
async function refusalOf(answer: Dispatcher.ResponseData, wanted: string): Promise<RpcError> {
  const failure = await failureOf(answer);
  if (failure.problem === FileMissing.type) return misused(`${wanted} in the form is required`);
  if (failure.problem === BodyTooLarge.type)
    return new RpcError(500, `the block is larger than ${BLOCK_SIZE_MAX_BYTES} bytes`);
  return answer.statusCode === 400 ? misused(failure.message) : failure;
}

/** The lines of a body, without those that are empty. */
async function* linesOf(body: AsyncIterable<Uint8Array>): AsyncGenerator<string, void, undefined> {
  const decoder = new TextDecoder();
  let held = '';
  for await (const bytes of body) {
    const lines = (held + decoder.decode(bytes, { stream: true })).split('\n');
    held = lines.pop() ?? '';
    for (const line of lines) if (line !== '') yield line;
  }
}

/** A body that remembers what it failed with: that is more telling than the request that it broke. */
function watched(source: AsyncIterable<Uint8Array>) {
  let fault: unknown;
  const bytes = async function* () {
    try {
      yield* source;
    } catch (error) {
      fault = error;
      throw error;
    }
  };
  return { bytes: bytes(), fault: () => fault };
}
