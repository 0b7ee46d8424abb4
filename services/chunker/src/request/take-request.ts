/** One request with a body, from its admission to the status of its answer. */
import type { Call } from '@shoal/chassis';
import { BodyIncomplete, Problem } from '@shoal/protocol';
import type * as z from 'zod';
import type { IntakeDeps } from '../intake/intake.ts';
import { neededBytesOf } from '../intake/room.ts';
import {
  createAdmit,
  explainFailure,
  refuseContentEncoding,
  type RequestLimits,
  type Stop,
} from './admit.ts';

/** A stop of work that says when its outcome is about to be known. */
export interface PinningStop extends Stop {
  /** From here on it does not give way to others: it would be pinned, and its sender hear that it failed. */
  readonly onPinning: () => void;
  /** The pin that was under way is answered, and more follows: it may give way again. */
  readonly onPinned: () => void;
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
    using admitted = await admit(request, { signal: caller, mayYield: () => !isPinning });
    const { signal, abort } = admitted;
    const neededBytes = neededBytesOf(request);
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
      const result = await work({ signal, abort, onPinning, onPinned });
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
