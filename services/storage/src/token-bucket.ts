/** How fast something may go on average: what is taken beyond the rate is waited for afterwards. */
export interface TokenBucket {
  /** Takes this much; answers how long to wait before going on, in milliseconds. */
  take(amount: number): number;
}

/** @param burst May be taken at once after a pause, without waiting. */
export function createTokenBucket({
  ratePerSecond,
  burst,
  uptimeMs,
}: {
  readonly ratePerSecond: number;
  readonly burst: number;
  /** A clock that is never set back. */
  readonly uptimeMs: () => number;
}): TokenBucket {
  let tokens = burst;
  let filledAtMs = uptimeMs();
  return {
    take(amount) {
      const now = uptimeMs();
      tokens = Math.min(burst, tokens + ((now - filledAtMs) * ratePerSecond) / 1000) - amount;
      filledAtMs = now;
      return tokens >= 0 ? 0 : (-tokens * 1000) / ratePerSecond;
    },
  };
}
