/** What a run of a scenario saw: how much it tried, what went wrong, and its figures. */

/**
 * `corrupt`: bytes that are not the file's were given out as if they were. `lost`: an acknowledged
 * file can't be read. `failed`: something that should work did not. `broken`: any other promise.
 */
export const FAULTS = ['corrupt', 'lost', 'failed', 'broken'] as const;
export type Fault = (typeof FAULTS)[number];

/** Faults told in words; more are only counted. */
const TOLD_MAX = 20;

export interface Ledger {
  /** One more trial, or several. */
  tried(what: string, count?: number): void;
  blame(fault: Fault, what: string): void;
  /** The run shows neither that the promise holds nor that it is broken. */
  doubt(why: string): void;
  /** A figure for the report; the last one under a name counts. */
  figure(name: string, value: number | string): void;
  /** One measurement of a series. */
  sample(series: string, value: number): void;
  readonly trials: ReadonlyMap<string, number>;
  readonly counts: Readonly<Record<Fault, number>>;
  readonly told: readonly string[];
  readonly figures: ReadonlyMap<string, number | string>;
  /** The series so far, sorted. */
  samples(series: string): number[];
  readonly isClean: boolean;
  /** Why it shows nothing; undefined when it does. */
  readonly doubts: string | undefined;
}

export function createLedger(): Ledger {
  const trials = new Map<string, number>();
  const counts: Record<Fault, number> = { corrupt: 0, lost: 0, failed: 0, broken: 0 };
  const told: string[] = [];
  const figures = new Map<string, number | string>();
  const series = new Map<string, number[]>();
  let doubts: string | undefined;
  return {
    trials,
    counts,
    told,
    figures,
    tried: (what, count = 1) => void trials.set(what, (trials.get(what) ?? 0) + count),
    blame(fault, what) {
      counts[fault] += 1;
      if (told.length < TOLD_MAX) told.push(`${fault}: ${what}`);
    },
    doubt: (why) => void (doubts ??= why),
    figure: (name, value) => void figures.set(name, value),
    sample(name, value) {
      const values = series.get(name) ?? [];
      values.push(value);
      series.set(name, values);
    },
    samples: (name) => (series.get(name) ?? []).toSorted((a, b) => a - b),
    get isClean() {
      return FAULTS.every((fault) => counts[fault] === 0);
    },
    get doubts() {
      return doubts;
    },
  };
}

/** The value that this share of a sorted series does not exceed; 0 of an empty one. */
export function quantile(sorted: readonly number[], share: number): number {
  const index = Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1);
  return sorted[Math.max(0, index)] ?? 0;
}

/** `1.2 s` or `340 ms`. */
export function formatMs(ms: number): string {
  return Math.abs(ms) < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}
