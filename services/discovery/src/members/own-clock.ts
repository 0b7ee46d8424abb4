/**
 * Whether this peer's wall clock can be right, by what the members' records say of theirs.
 *
 * Pins that are written here carry the time and are ordered by it. A clock that is weeks ahead makes pins
 * that no member takes; one that is weeks behind makes a peer refuse what all others take. Neither may
 * be answered with a 201. The judge is the median of the members that are up, so one of three that lies
 * changes nothing; of an even number it is that of the middle two which is nearer to ours. With a single
 * other member nobody can tell who is wrong: both refuse.
 */
import type { Log, Loops } from '@shoal/chassis';
import { CLOCK_AHEAD_MAX_MS, ClockWrong, type MemberRecord } from '@shoal/protocol';
import type { KnownMember } from '@shoal/swarm';
import type { Metrics } from '../metrics.ts';

/** How often metrics and log follow the clock; writes check it themselves. */
const LOOK_MS = 15_000;

/** `unknown`: no member says what time it is. */
export type ClockVerdict = 'right' | 'wrong' | 'unknown';

export interface OwnClock {
  verdict(): ClockVerdict;
  /** How far our clock is ahead of the members' median; undefined while nobody says. */
  aheadMs(): number | undefined;
  /** @throws ClockWrong */
  check(): void;
  /** That it is wrong, in a sentence; undefined while it may be right. */
  notice(): string | undefined;
}

/**
 * The time of a member's clock is in its newest record, and how old that is at least. One that is only known from others
 * may be long gone, and its record of any age.
 */
type Timed = Pick<KnownMember<unknown>, 'state' | 'signedByMs' | 'isProven'> & {
  readonly record: Pick<MemberRecord, 'atMs'>;
};

export function createOwnClock(deps: {
  readonly members: () => readonly Timed[];
  /** Monotonic clock that the members' times are on. */
  readonly clock: () => number;
  /** Wall clock. */
  readonly nowMs: () => number;
}): OwnClock {
  const offsets = (): number[] => {
    const [nowMs, clockMs] = [deps.nowMs(), deps.clock()];
    return deps.members().flatMap(({ state, isProven, signedByMs, record: { atMs } }) => {
      const isUp = state === 'alive' || state === 'suspect';
      return isUp && isProven && atMs !== undefined && signedByMs !== undefined
        ? [atMs + (clockMs - signedByMs) - nowMs]
        : [];
    });
  };
  const aheadMs = (): number | undefined => {
    const median = nearMedian(offsets());
    return median === undefined ? undefined : Math.round(-median);
  };
  const verdict = (): ClockVerdict => {
    const ahead = aheadMs();
    if (ahead === undefined) return 'unknown';
    return Math.abs(ahead) > CLOCK_AHEAD_MAX_MS ? 'wrong' : 'right';
  };
  const problem = (): InstanceType<typeof ClockWrong> | undefined => {
    const ahead = aheadMs();
    if (ahead === undefined || Math.abs(ahead) <= CLOCK_AHEAD_MAX_MS) return undefined;
    return new ClockWrong({ aheadMs: ahead });
  };
  return {
    aheadMs,
    verdict,
    check() {
      const fault = problem();
      if (fault !== undefined) throw fault;
    },
    notice: () => problem()?.message,
  };
}

/** Keeps the metric of how far the clock is ahead, and logs when it turns wrong or right. */
export function watchOwnClock(deps: {
  readonly ownClock: OwnClock;
  readonly metrics: Pick<Metrics, 'clockAhead'>;
  readonly loops: Loops;
  readonly log: Log;
}): Disposable {
  const { ownClock, metrics, loops, log } = deps;
  let wasWrong = false;
  const look = (): void => {
    const aheadMs = ownClock.aheadMs();
    metrics.clockAhead.set((aheadMs ?? 0) / 1000);
    const isWrong = ownClock.verdict() === 'wrong';
    if (isWrong && !wasWrong)
      log.error(
        { aheadMs },
        'the clock of this peer differs from that of the members: it takes no writes',
      );
    if (!isWrong && wasWrong) log.info({ aheadMs }, 'the clock is right again');
    wasWrong = isWrong;
  };
  return loops.start({ name: 'own-clock', everyMs: () => LOOK_MS, run: look });
}

/** The median; of an even number the one of the middle two that is nearer to zero. */
export function nearMedian(values: readonly number[]): number | undefined {
  const sorted = values.toSorted((a, b) => a - b);
  const high = sorted[Math.floor(sorted.length / 2)];
  const low = sorted[Math.floor((sorted.length - 1) / 2)];
  if (high === undefined || low === undefined) return undefined;
  return Math.abs(low) < Math.abs(high) ? low : high;
}
