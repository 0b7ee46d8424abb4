/**
 * How old pins are. Their dates are by the clock of the peer that made them, which may be wrong by days.
 * The time since they were first seen here bounds them: a pin is at least as old as that, and one
 * that comes in while all others are known counts as new, even if its date says otherwise.
 */
import { RecentMap } from '@shoal/chassis';
import type { Cid, Pin } from '@shoal/protocol';
import type { WallTimeOf } from '../wall-time.ts';

/** Pins whose coming is remembered, about 160 bytes each. Past it: of the oldest only the date is known. */
const SEEN_MAX = 65_536;

interface Seen {
  readonly firstMs: number;
  readonly changeMs: number;
  readonly isNews: boolean;
}

export interface PinAges {
  /** A pin came in, or changed; `isNews` if all other pins of the swarm were known here before. */
  note(root: Cid, isNews: boolean): void;
  /** Whether it was made or changed less than this long ago. */
  isYoung(pin: Pick<Pin, 'root' | 'clock'>, newForMs: number): boolean;
  /** How long ago it came in; undefined if that was in an earlier run, or is forgotten. */
  knownForMs(pin: Pick<Pin, 'root'>): number | undefined;
  /** When it was made, by our wall clock, and never after it was first seen here. */
  createdAtMs(pin: Pick<Pin, 'root' | 'createdAtMs'>): number;
}

export function createPinAges(deps: {
  /** Monotonic. */
  readonly clock: () => number;
  readonly wallClock: () => number;
  readonly wallTimeOf: WallTimeOf;
  readonly seenMax?: number;
}): PinAges {
  const { clock, wallClock, wallTimeOf, seenMax = SEEN_MAX } = deps;
  const startMs = clock();
  let isForgetful = false;
  const seen = new RecentMap<Cid, Seen>({ max: seenMax, onEvict: () => (isForgetful = true) });
  /** Pins that were here at the start were seen by then. */
  const seenOf = (root: Cid): Seen | undefined =>
    seen.peek(root) ??
    (isForgetful ? undefined : { firstMs: startMs, changeMs: startMs, isNews: false });
  return {
    note(root, isNews) {
      const nowMs = clock();
      const firstMs = seen.peek(root)?.firstMs ?? nowMs;
      seen.set(root, { firstMs, changeMs: nowMs, isNews });
    },
    isYoung({ root, clock: madeAtMs }, newForMs) {
      const here = seenOf(root);
      if (here !== undefined && clock() - here.changeMs >= newForMs) return false;
      // A pin's clock is the wall clock of its last change, so it is young again after one.
      return here?.isNews === true || wallClock() - madeAtMs < newForMs;
    },
    knownForMs({ root }) {
      const here = seen.peek(root);
      return here === undefined ? undefined : clock() - here.firstMs;
    },
    createdAtMs({ root, createdAtMs }) {
      const here = seenOf(root);
      return Math.min(createdAtMs, here === undefined ? wallClock() : wallTimeOf(here.firstMs));
    },
  };
}
