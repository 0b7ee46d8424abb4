/** Other processes that run under our identity, as far as was seen here. */
import { RecentMap } from '@shoal/chassis';
import type { MemberRecord, PeerRun } from '@shoal/protocol';

/** Twins remembered. Past it: the one not seen for longest is forgotten, and noticed anew. */
const RUNS_MAX = 8;

export interface OtherRun {
  readonly record: MemberRecord;
  readonly run: PeerRun;
  /** When it was seen last, on the monotonic clock. */
  readonly seenAtMs: number;
  /** By the wall clock, once it was not seen for too long. */
  goneAtMs?: number;
}

export class OtherRuns {
  /** By the run's id, the one seen last at the end. */
  readonly #runs = new RecentMap<string, OtherRun>({ max: RUNS_MAX });

  get({ id }: PeerRun): OtherRun | undefined {
    return this.#runs.peek(id);
  }

  /** Notes that a run is there now; returns what was known of it before. */
  note(record: MemberRecord, seenAtMs: number): OtherRun | undefined {
    const run = runOf(record);
    const known = this.get(run);
    this.#runs.set(run.id, { record, run, seenAtMs });
    return known;
  }

  /** Takes those for gone that were not seen since; returns them. */
  noteGone({ seenBeforeMs, wallMs }: { seenBeforeMs: number; wallMs: number }): OtherRun[] {
    const gone = this.present().filter(({ seenAtMs }) => seenAtMs < seenBeforeMs);
    for (const each of gone) each.goneAtMs = wallMs;
    return gone;
  }

  present(): OtherRun[] {
    return this.#all().filter(({ goneAtMs }) => goneAtMs === undefined);
  }

  /** Of those present, the one that has the name before the others. */
  first(): OtherRun | undefined {
    return this.present().toSorted((a, b) => compareRuns(a.run, b.run))[0];
  }

  /** Of all that are remembered; -Infinity when there are none. */
  highestIncarnation(): number {
    return Math.max(...this.#all().map(({ record }) => record.incarnation));
  }

  #all(): OtherRun[] {
    return [...this.#runs].map(([, each]) => each);
  }
}

/** Below 0 when `a` has the name before `b`. */
export function compareRuns(a: PeerRun, b: PeerRun): number {
  return (
    Number(a.isAside) - Number(b.isAside) ||
    a.sinceMs - b.sinceMs ||
    (a.id < b.id ? -1 : Number(a.id > b.id))
  );
}

/** A record of an earlier version names its run by its incarnation alone. */
export function runOf({ run, incarnation }: MemberRecord): PeerRun {
  return run ?? { id: `incarnation ${incarnation}`, sinceMs: incarnation, isAside: false };
}
