/**
 * The limits that all requests with a body share, tus or not: how many at once, a chunk buffer for each,
 * how slow, how large, in which content coding.
 */
import { type RateWatch, Shares } from '@shoal/chassis';
import { MediaTypeUnsupported, type Problem, StorageFull } from '@shoal/protocol';
import type { FastifyRequest } from 'fastify';
import type { IntakeDeps } from '../intake/intake.ts';
import { PinDoubtful } from '../intake/put-pin.ts';
import { watchRate } from './read-stream.ts';

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

/** @throws Overloaded, GaveWay */
export type Admit = (
  request: FastifyRequest,
  options: {
    signal: AbortSignal;
    /** Whether it gives way to others; false once its outcome is about to be known. */
    mayYield?: () => boolean;
  },
) => Promise<Admitted>;

/** @param what There is a bound on, as `Overloaded` names it. */
export function createAdmit(
  { buffers, stopping }: Pick<IntakeDeps, 'buffers' | 'stopping'>,
  { uploadsMax, bytesPerSecondMin, rateWindowMs: windowMs }: RequestLimits,
  what: string,
): Admit {
  const shares = new Shares({ what, placesMax: uploadsMax });
  return async (request, { signal, mayYield = () => true }) => {
    using stack = new DisposableStack();
    let rate: RateWatch | undefined;
    const isSlow = () => rate?.isSlow() ?? false;
    const place = stack.use(await shares.take(request.client, { signal, isSlow, mayYield }));
    stack.use(buffers.admit());
    const stop = new AbortController();
    const abort = (problem: Problem) => stop.abort(problem);
    rate = stack.use(watchRate(request.raw, { bytesPerSecondMin, windowMs }, abort));
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
