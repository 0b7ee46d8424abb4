/**
 * Dates of moments on the monotonic clock. The difference between the two clocks is measured once and kept, so that
 * two answers about one moment give it the same date; "now, less its age" moves by a millisecond or more each time.
 * It is measured anew when somebody set the wall clock.
 */

/** A larger difference between what was kept and what is so now. Past it: the wall clock was set, all dates move. */
const SET_MIN_MS = 250;

/** The date of a moment, in whole milliseconds since 1970. */
export type WallTimeOf = (atMs: number) => number;

export function createWallTime({
  clock,
  nowMs,
}: {
  /** Monotonic. */
  readonly clock: () => number;
  /** The wall clock. */
  readonly nowMs: () => number;
}): WallTimeOf {
  let offsetMs = nowMs() - clock();
  return (atMs) => {
    const measuredMs = nowMs() - clock();
    if (Math.abs(measuredMs - offsetMs) > SET_MIN_MS) offsetMs = measuredMs;
    return Math.max(0, Math.floor(offsetMs + atMs));
  };
}
