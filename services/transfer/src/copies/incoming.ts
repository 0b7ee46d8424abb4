/**
 * Blocks on their way into our storage. An upload's offers and the settling that its pin sets off find
 * the same blocks missing in the same moment, and both would copy them. So a block is claimed before it is
 * copied. An offer that finds a claim waits for its end; settling leaves the block to it and looks again
 * later, since a caller waits for the offer, and settling may be short of bandwidth.
 */
import { RecentMap } from '@shoal/chassis';
import type { Cid } from '@shoal/protocol';

/** Blocks remembered as arrived. Of older ones a second copy is made: work, not harm. */
const ARRIVED_MAX = 16_384;

/** The right to copy one block, until it is disposed. */
export interface Claim extends Disposable {
  /** The end of the claim before this one, however it ended; undefined when there was none. */
  readonly before: Promise<void> | undefined;
  /** The block is in our storage now. */
  arrived(): void;
}

export interface Incoming {
  claim(cid: Cid): Claim;
  /** Whether a block is claimed, or arrived after it was looked for at `lookedAtMs`, by `performance.now()`. */
  isComing(cid: Cid, lookedAtMs: number): boolean;
}

export function createIncoming(): Incoming {
  /** Block → the end of its last claim. */
  const claims = new Map<Cid, Promise<void>>();
  /** Block → when it arrived. */
  const arrivals = new RecentMap<Cid, number>({ max: ARRIVED_MAX });
  return {
    claim(cid) {
      const { promise: end, resolve } = Promise.withResolvers<void>();
      const before = claims.get(cid);
      claims.set(cid, end);
      return {
        before,
        arrived: () => arrivals.set(cid, performance.now()),
        [Symbol.dispose]() {
          if (claims.get(cid) === end) claims.delete(cid);
          resolve();
        },
      };
    },
    isComing: (cid, lookedAtMs) =>
      claims.has(cid) || (arrivals.peek(cid) ?? -Infinity) >= lookedAtMs,
  };
}
