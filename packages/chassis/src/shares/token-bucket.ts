/**
 * How fast something may go on average, with at most one second's worth at once, or what the caller says.
 *
 * The size of a block is known when it is here, so the price is paid afterwards: the next taker
 * waits until the debt is worked off. Over any time but the shortest, the rate holds exactly.
 */

/** How much may be saved up, as time at the full rate, unless the caller says it. */
const BURST_MS = 1000;

export interface TokenBucket {
  /** How long to wait before the next may begin, in milliseconds; 0 when it may begin now. */
  delayMs(): number;
  /** Takes this much, into debt if need be. */
  spend(amount: number): void;
}

/** @param ratePerSecond What comes in each second; 0 sets no limit. */
export function createTokenBucket({
  ratePerSecond,
  burstMs = BURST_MS,
  nowMs,
}: {
  readonly ratePerSecond: number;
  /** How much may be saved up, as time at the full rate. */
  readonly burstMs?: number;
  /** A monotonic clock, in milliseconds. */
  readonly nowMs: () => number;
}): TokenBucket {
  /** Until when all that was spent is paid off; up to `burstMs` in the past is saved up. */
  let paidUntilMs = nowMs() - burstMs;

  return {
    delayMs: () => (ratePerSecond === 0 ? 0 : Math.max(0, Math.ceil(paidUntilMs - nowMs()))),
    spend(amount) {
      if (ratePerSecond === 0) return;
      const fromMs = Math.max(paidUntilMs, nowMs() - burstMs);
      paidUntilMs = fromMs + (amount / ratePerSecond) * 1000;
    },
  };
}
