/**
 * One request with a body, from its admission to the status of its answer; and the limits that all such requests
 * share, tus or not: how many at once, a chunk buffer for each, how slow, how large, in which content coding.
 */
import { type Call, type RateWatch, Shares } from '@shoal/chassis';
import {
  BodyIncomplete,
  MediaTypeUnsupported,
  Problem,
  QuotaExceeded,
  StorageFull,
} from '@shoal/protocol';
import type { FastifyRequest } from 'fastify';
import type * as z from 'zod';
import type { IntakeDeps, UploadToken } from '../intake/intake.ts';
import { PinDoubtful } from '../intake/put-pin.ts';
import { FORM_OVERHEAD_BYTES, neededBytesOf } from '../intake/room.ts';
import { watchRate } from './read-body.ts';

export interface RequestLimits {
  /** Requests at once, shared by clients; one more is answered 503. */
  readonly uploadsMax: number;
  readonly bytesPerSecondMin: number;
  readonly rateWindowMs: number;
}

/** How a request's work ends early: the sender left, was too slow, gave way, or the service stops. */
export interface Stop {
  readonly signal: AbortSignal;
  readonly abort: (problem: Problem) => void;
}

/** A request whose body may be read, until disposed. */
export type Admitted = Stop & Disposable;

/** @throws Overloaded, GaveWay, QuotaExceeded */
export type Admit = (
  request: FastifyRequest,
  options: {
    signal: AbortSignal;
    /** Whether it gives way to others; false once its outcome is about to be known. */
    mayYield?: () => boolean;
    /** Bytes of the body that the token's quota has to have room for. */
    quota?: { readonly token: UploadToken | undefined; readonly neededBytes: number };
  },
) => Promise<Admitted>;

/** @param what There is a bound on, as `Overloaded` names it. */
export function createAdmit(
  { buffers, quota: quotas, stopping }: Pick<IntakeDeps, 'buffers' | 'quota' | 'stopping'>,
  { uploadsMax, bytesPerSecondMin, rateWindowMs: windowMs }: RequestLimits,
  what: string,
): Admit {
  const shares = new Shares({ what, placesMax: uploadsMax });
  return async (request, { signal, mayYield = () => true, quota }) => {
    using stack = new DisposableStack();
    let rate: RateWatch | undefined;
    const isSlow = () => rate?.isSlow() ?? false;
    const place = stack.use(await shares.take(request.client, { signal, isSlow, mayYield }));
    stack.use(buffers.admit());
    const stop = new AbortController();
    const abort = (problem: Problem) => stop.abort(problem);
    const leftBytes = await quotas.check(quota?.token, quota?.neededBytes ?? 0, { signal });
    // A body that doesn't say its length, or that is wrong about it, ends there too.
    const bodyMaxBytes = leftBytes + FORM_OVERHEAD_BYTES;
    const onTooLong = () => {
      const { name = '', maxBytes = 0 } = quota?.token ?? {};
      abort(new QuotaExceeded({ token: name, maxBytes, leftBytes }));
    };
    const limits = { bytesPerSecondMin, windowMs, bodyMaxBytes, onTooLong };
    rate = stack.use(watchRate(request.raw, limits, abort));
    const admitted = stack.move();
    return {
      signal: AbortSignal.any([signal, stop.signal, place.signal, stopping]),
      abort,
      [Symbol.dispose]: () => admitted.dispose(),
    };
  };
}

/** A coded body would be stored as it is and served as if it were the file. @throws MediaTypeUnsupported */
export function refuseContentEncoding({ headers }: FastifyRequest): void {
  const encoding = headers['content-encoding'];
  if (encoding !== undefined && encoding.trim().toLowerCase() !== 'identity')
    throw new MediaTypeUnsupported({ expected: 'bodies without Content-Encoding' });
}

/** The failure as its sender hears it: if the disk is full, with the peers that have room. */
export async function explainFailure(
  error: unknown,
  neededBytes: number | undefined,
  { room, stopping }: Pick<IntakeDeps, 'room' | 'stopping'>,
): Promise<unknown> {
  const reason = error instanceof PinDoubtful ? error.cause : error;
  return reason instanceof StorageFull && reason.fields.peersWithRoom === undefined
    ? room.nameOthers(reason, neededBytes, { signal: stopping })
    : reason;
}

/** A stop of work that says when its outcome is about to be known. */
export interface PinningStop extends Stop {
  /** From here on it does not give way to others: it would be pinned, and its sender hear that it failed. */
  readonly onPinning: () => void;
  /** The pin that was under way is answered, and more follows: it may give way again. */
  readonly onPinned: () => void;
  /** The token that the request came with. */
  readonly token: UploadToken | undefined;
}

/** Runs the work of one request within the limits. @throws Overloaded, GaveWay, MediaTypeUnsupported, StorageFull, BodyIncomplete, BodyTooSlow. */
export type TakeRequest = <Result extends { readonly isReached: boolean }>(
  call: Pick<Call<z.ZodObject, z.ZodObject, undefined>, 'request' | 'reply' | 'signal'>,
  work: (stop: PinningStop) => Promise<Result>,
) => Promise<Result>;

/** The answer's status says whether the copies asked for are there: 201, or 202. */
export function createTakeRequest(
  deps: IntakeDeps,
  limits: RequestLimits,
  what = 'uploads',
): TakeRequest {
  const admit = createAdmit(deps, limits, what);
  const { metrics, room } = deps;
  return async ({ request, reply, signal: caller }, work) => {
    refuseContentEncoding(request);
    let isPinning = false;
    const neededBytes = neededBytesOf(request);
    const { token } = request;
    using admitted = await admit(request, {
      signal: caller,
      mayYield: () => !isPinning,
      quota: { token, neededBytes: Math.max(0, neededBytes ?? 0) },
    });
    const { signal, abort } = admitted;
    const onPinning = () => {
      isPinning = true;
    };
    const onPinned = () => {
      isPinning = false;
    };
    const timer = metrics.uploadDuration.startTimer();
    metrics.openUploads.inc();
    try {
      await room.check(neededBytes, { signal });
      const result = await work({ signal, abort, onPinning, onPinned, token });
      void reply.code(result.isReached ? 201 : 202);
      return result;
    } catch (error) {
      const reason = await explainFailure(error, neededBytes, deps);
      if (caller.aborted && !(reason instanceof Problem))
        throw new BodyIncomplete(
          { receivedBytes: request.raw.socket.bytesRead },
          { cause: reason },
        );
      throw reason;
    } finally {
      metrics.openUploads.dec();
      timer();
    }
  };
}
