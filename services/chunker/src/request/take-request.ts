/**
 * The limits that all requests with a body share: how many at once, how slow, how large. And the last
 * words to a sender whose request failed.
 */
import { type Call, type RateWatch, Shares } from '@shoal/chassis';
import { BodyIncomplete, MediaTypeUnsupported, Problem, StorageFull } from '@shoal/protocol';
import type { FastifyRequest } from 'fastify';
import type * as z from 'zod';
import type { IntakeDeps } from '../intake/intake.ts';
import { PinDoubtful } from '../intake/put-pin.ts';
import { watchRate } from './read-stream.ts';
import { neededBytesOf } from '../intake/room.ts';

export interface RequestLimits {
  /** Requests at once, shared by clients; one more is answered 503. */
  readonly uploadsMax: number;
  readonly bytesPerSecondMin: number;
  readonly rateWindowMs: number;
}

/** How a request's work ends early: the sender left, was too slow, or the service stops. */
export interface Stop {
  readonly signal: AbortSignal;
  readonly abort: (problem: Problem) => void;
}

/** The same, for work that says when its outcome is about to stand. */
export interface KeepingStop extends Stop {
  /** From here on it does not give way to others: what it did would be kept, and its sender told that it failed. */
  readonly onKeeping: () => void;
}

/** Runs the work of one request within the limits. @throws Overloaded, GaveWay, MediaTypeUnsupported, StorageFull, BodyIncomplete, BodyTooSlow. */
export type TakeRequest = <Result extends { readonly isReached: boolean }>(
  call: Pick<Call<z.ZodObject, z.ZodObject, undefined>, 'request' | 'reply' | 'signal'>,
  work: (stop: KeepingStop) => Promise<Result>,
) => Promise<Result>;

/** The answer's status says whether the copies asked for are there: 201, or 202. */
export function createTakeRequest(
  deps: IntakeDeps,
  limits: RequestLimits,
  what = 'uploads',
): TakeRequest {
  const shares = new Shares({ what, placesMax: limits.uploadsMax });
  return async ({ request, reply, signal }, work) => {
    refuseContentEncoding(request);
    let rate: RateWatch | undefined;
    let isKeeping = false;
    using place = await shares.take(request.client, {
      signal,
      isSlow: () => rate?.isSlow() ?? false,
      mayYield: () => !isKeeping,
    });
    const neededBytes = neededBytesOf(request);
    const stop = new AbortController();
    const abort = (problem: Problem) => stop.abort(problem);
    const either = AbortSignal.any([signal, stop.signal, place.signal, deps.stopping]);
    const timer = deps.metrics.uploadDuration.startTimer();
    deps.metrics.openUploads.inc();
    using _room = deps.pool.admit();
    using watched = watchRate(
      request.raw,
      { bytesPerSecondMin: limits.bytesPerSecondMin, windowMs: limits.rateWindowMs },
      abort,
    );
    rate = watched;
    const onKeeping = () => {
      isKeeping = true;
    };
    try {
      await deps.room.check(neededBytes, { signal: either });
      const result = await work({ signal: either, abort, onKeeping });
      void reply.code(result.isReached ? 201 : 202);
      return result;
    } catch (error) {
      const reason = error instanceof PinDoubtful ? error.cause : error;
      if (reason instanceof StorageFull)
        throw await deps.room.nameOthers(reason, neededBytes, { signal: deps.stopping });
      if (error instanceof PinDoubtful) throw reason;
      if (signal.aborted && !(error instanceof Problem))
        throw new BodyIncomplete({ receivedBytes: request.raw.socket.bytesRead }, { cause: error });
      throw error;
    } finally {
      deps.metrics.openUploads.dec();
      timer();
    }
  };
}

/** A coded body would be stored as it is and served as if it were the file. */
function refuseContentEncoding({ headers }: FastifyRequest): void {
  const encoding = headers['content-encoding'];
  if (encoding !== undefined && encoding.trim().toLowerCase() !== 'identity')
    throw new MediaTypeUnsupported({ expected: 'bodies without Content-Encoding' });
}
