/**
 * The answer to a form of Kubo's clients: a line for each thing that is done, while the form comes in. What
 * fails before the first line is a problem with a status; what fails later is the last line.
 */
import type { Call } from '@shoal/chassis';
import { MediaTypeUnsupported, Problem } from '@shoal/protocol';
import type { FastifyReply } from 'fastify';
import type * as z from 'zod';
import { type Lines, openLines } from '../request/answer-lines.ts';
import type { PinningStop, TakeRequest } from '../request/take-request.ts';

const FAULT = 'the peer met a fault of its own; its log has the details';

interface Failed {
  readonly failed: { readonly detail: string };
}

/** Runs the work for a form within the limits of `take`. @throws MediaTypeUnsupported; whatever `take` does. */
export async function answerForm<Event>(
  call: Pick<Call<z.ZodObject, z.ZodObject, undefined>, 'request' | 'reply' | 'signal'>,
  take: TakeRequest,
  work: (lines: Lines<Event | Failed>, stop: PinningStop) => Promise<void>,
): Promise<FastifyReply> {
  const { request, reply } = call;
  if (!request.isMultipart()) throw new MediaTypeUnsupported({ expected: 'multipart/form-data' });
  using lines = openLines<Event | Failed>(reply);
  try {
    await take(call, async (stop) => {
      await work(lines, stop);
      return { isReached: true };
    });
    lines.end();
  } catch (error) {
    if (!lines.isBegun) throw error;
    // It is too late for a status.
    request.log.warn({ err: error }, 'a form was taken in part');
    lines.end({ failed: { detail: error instanceof Problem ? error.message : FAULT } });
  }
  return reply;
}
