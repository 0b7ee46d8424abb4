/**
 * The rule that a body must move. Node's own limit on a whole request would end long uploads and
 * still let a trickle hold a socket for minutes, so the rate is judged instead, over a window.
 *
 * Only time in which we waited for the sender counts: a sender that storage holds back is not slow.
 */
export interface RateRule {
  /**
   * Told regularly how many bytes came in all and whether we were waiting for more; answers whether
   * the sender is too slow.
   */
  isTooSlow(sample: {
    readonly nowMs: number;
    readonly receivedBytes: number;
    readonly isWaiting: boolean;
  }): boolean;
}

export function createRateRule({
  bytesPerSecondMin,
  windowMs,
  startedAtMs,
}: {
  readonly bytesPerSecondMin: number;
  readonly windowMs: number;
  readonly startedAtMs: number;
}): RateRule {
  const slots: { readonly waitedMs: number; readonly bytes: number }[] = [];
  let lastMs = startedAtMs;
  let lastBytes = 0;
  let waitedMs = 0;
  let bytes = 0;
  return {
    isTooSlow({ nowMs, receivedBytes, isWaiting }) {
      const slot = {
        waitedMs: isWaiting ? Math.max(0, nowMs - lastMs) : 0,
        bytes: receivedBytes - lastBytes,
      };
      lastMs = nowMs;
      lastBytes = receivedBytes;
      slots.push(slot);
      waitedMs += slot.waitedMs;
      bytes += slot.bytes;
      // Keeps the shortest run of slots that still spans the window.
      for (let oldest = slots[0]; oldest !== undefined; oldest = slots[0]) {
        const isNeeded = waitedMs - oldest.waitedMs < windowMs;
        if (isNeeded) break;
        slots.shift();
        waitedMs -= oldest.waitedMs;
        bytes -= oldest.bytes;
      }
      return waitedMs >= windowMs && bytes * 1000 < bytesPerSecondMin * waitedMs;
    },
  };
}
