/**
 * How old pins are. Their dates are by the clock of the peer that made them, which may be wrong by days;
 * what was seen here bounds them: nothing is younger than the time since it was first seen here, and
 * what came in just now, while all else was known, counts as new whatever its date says.
 */
import type { Cid, Pin } from '@shoal/protocol';

/** Pins whose coming is remembered, about 100 bytes each; of others only the date is known. */
const SEEN_MAX = 65_536;

interface Seen {
  readonly firstMs: number;
  readonly changeMs: number;
  readonly isNews: boolean;
}

export interface PinAges {
  /** A pin came in, or changed; `isNews` when nothing that others know was unknown here before. */
  note(root: Cid, isNews: boolean): void;
  /** Whether it was made or changed less than this long ago. */
  isYoung(pin: Pick<Pin, 'root' | 'clock'>, newForMs: number): boolean;
  /** How long ago it came in; undefined when that was not in this run, or is forgotten. */
  knownForMs(pin: Pick<Pin, 'root'>): number | undefined;
  /** When it was made, by our wall clock, and never after it was first seen here. */
  createdAtMs(pin: Pick<Pin, 'root' | 'createdAtMs'>): number;
}

export function createPinAges(deps: {
  /** Monotonic. */
  readonly clock: () => number;
  readonly wallClock: () => number;
  readonly seenMax?: number;
}): PinAges {
  const { clock, wallClock, seenMax = SEEN_MAX } = deps;
  const startMs = clock();
  const seen = new Map<Cid, Seen>();
  let isForgetful = false;
  /** Pins that were here at the start were seen by then. */
  const seenOf = (root: Cid): Seen | undefined =>
    seen.get(root) ??
    (isForgetful ? undefined : { firstMs: startMs, changeMs: startMs, isNews: false });
  return {
    note(root, isNews) {
      const nowMs = clock();
      const firstMs = seen.get(root)?.firstMs ?? nowMs;
      seen.delete(root); // put back at the end: the oldest is forgotten first
      seen.set(root, { firstMs, changeMs: nowMs, isNews });
      const [oldest] = seen.keys();
      if (seen.size <= seenMax || oldest === undefined) return;
      seen.delete(oldest);
      isForgetful = true;
    },
    isYoung({ root, clock: madeAtMs }, newForMs) {
      const here = seenOf(root);
      if (here !== undefined && clock() - here.changeMs >= newForMs) return false;
      // The clock of a pin is the wall clock at the time of the wish, hence young again after a change.
      return here?.isNews === true || wallClock() - madeAtMs < newForMs;
    },
    knownForMs({ root }) {
      const here = seen.get(root);
      return here === undefined ? undefined : clock() - here.firstMs;
    },
    createdAtMs({ root, createdAtMs }) {
      const here = seenOf(root);
      const seenForMs = here === undefined ? 0 : clock() - here.firstMs;
      return Math.max(0, Math.min(createdAtMs, Math.floor(wallClock() - seenForMs)));
    },
  };
}
