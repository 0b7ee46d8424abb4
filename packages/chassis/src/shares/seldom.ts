/**
 * A line in the log once in a while: callers that are refused come again every second. The metric beside it counts
 * them all.
 */
import { RecentMap } from './recent-map.ts';

/** The same is said again after this long. */
const QUIET_MS = 10 * 60_000;
/**
 * Hosts, or other causes, that were named in the log and are remembered.
 * Past it: the oldest is named again.
 */
const TOLD_MAX = 256;

export class Seldom {
  readonly #told: RecentMap<string, true>;

  /** @param clock Monotonic milliseconds; another one in tests. */
  constructor(clock = () => performance.now()) {
    this.#told = new RecentMap({ max: TOLD_MAX, ttlMs: QUIET_MS, clock });
  }

  /** True the first time that it is asked for this cause, and again after a while. */
  isDue(cause: string): boolean {
    if (this.#told.has(cause)) return false;
    this.#told.set(cause, true);
    return true;
  }
}
