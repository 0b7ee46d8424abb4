/**
 * Background work, all of it in one list: whatever a service repeats without being asked is
 * started or tracked here, so that a person can see what runs, how often, and what became of it.
 *
 * `start` owns the timer: the next run is scheduled when the last one ended, so a loop never overlaps
 * itself, and a failed run does not end it. `track` is for loops that wait for something else than time
 * (a signal, a long poll, a debounce): they keep their own waiting and run each turn through the handle.
 * Rejected: a scheduler that owns all kinds of waiting, since each of those loops waits for its own reason.
 */
import assert from 'node:assert';
import { LOOP_ERROR_MAX_CHARS, type LoopReport, LOOPS_MAX, Problem } from '@shoal/protocol';
import { Counter, Gauge, type Registry } from 'prom-client';
import type { Log } from './log.ts';

/** The input of a run. */
export interface Turn {
  /** Fires when the loop is disposed. */
  readonly signal: AbortSignal;
  /** Says that a long run gets on: without a sign for three periods a loop counts as stuck. */
  readonly beat: () => void;
}

export interface LoopTask {
  /** In kebab case; one loop of a service has it. */
  readonly name: string;
  /** Pause between the end of a run and the next; asked after each run, since it may vary. */
  readonly everyMs: () => number;
  readonly run: (turn: Turn) => unknown;
  /** Pause before the first run, when it is another. */
  readonly firstAfterMs?: number;
  /** Default: a warning that names the loop. Not called for a run that failed because the loop is disposed. */
  readonly onFailure?: (err: unknown) => void;
}

/** Disposing stops it at once; `asyncDispose` also waits for the run under way. */
export interface Loop extends Disposable, AsyncDisposable {}

/** A loop that does its own waiting. */
export interface TrackedLoop {
  /** Runs one turn and notes how it went; what it throws is thrown on. */
  run<T>(turn: (beat: () => void) => Promise<T>): Promise<T>;
}

export interface Loops {
  start(task: LoopTask): Loop;
  /** @param everyMs Pause until the next turn; undefined while it only waits to be needed. */
  track(name: string, everyMs: () => number | undefined): TrackedLoop;
  report(): LoopReport[];
}

/** The figures of a service's loops. */
export function createLoopMetrics(service: string, register: Registry) {
  const registers = [register];
  const prefix = `shoal_${service}_loop`;
  return {
    runs: new Counter({
      name: `${prefix}_runs_total`,
      help: 'Runs of background loops, by loop and how they ended.',
      labelNames: ['loop', 'outcome'] as const, // 'done' | 'failed'
      registers,
    }),
    lastRun: new Gauge({
      name: `${prefix}_last_run_timestamp_seconds`,
      help: 'When a background loop last gave a sign of life: its start, a run that began, got on, or ended.',
      labelNames: ['loop'] as const,
      registers,
    }),
    period: new Gauge({
      name: `${prefix}_period_seconds`,
      help: 'Pause between two runs of a background loop at present; absent while it only waits to be needed.',
      labelNames: ['loop'] as const,
      registers,
    }),
  };
}
export type LoopMetrics = ReturnType<typeof createLoopMetrics>;

/** Clocks are given by tests. */
export function createLoops({
  metrics,
  log,
  nowMs = Date.now,
  uptimeMs = () => performance.now(),
}: {
  readonly metrics?: LoopMetrics | undefined;
  readonly log: Pick<Log, 'warn'>;
  /** Wall clock. */
  readonly nowMs?: () => number;
  /** Monotonic clock. */
  readonly uptimeMs?: () => number;
}): Loops {
  const records = new Map<string, LoopRecord>();
  const add = (name: string): LoopRecord => {
    assert(/^[a-z]+(?:-[a-z]+)*$/.test(name), `${name} is no name of a loop`);
    assert(!records.has(name), `there are two loops ${name}`);
    assert(records.size < LOOPS_MAX, 'there are more loops than a report takes');
    const record = new LoopRecord(name, { metrics, nowMs, uptimeMs });
    records.set(name, record);
    return record;
  };
  return {
    start(task) {
      const record = add(task.name);
      const warn = (err: unknown) => log.warn({ err, loop: task.name }, 'background loop failed');
      const forget = () => {
        records.delete(task.name);
        record.forget();
      };
      return startTimer(task, record, { forget, warn });
    },
    track(name, everyMs) {
      const record = add(name);
      record.schedule(everyMs());
      return {
        async run(turn) {
          record.schedule(everyMs());
          try {
            return await record.run(() => turn(() => record.beat()));
          } finally {
            record.schedule(everyMs());
          }
        },
      };
    },
    report: () => [...records.values()].map((record) => record.report()),
  };
}

/** Loops of a second or more run together, on this grid: each time of its own would wake a peer at rest once more. */
const GRID_MS = 1000;
/** Of a pause: how much shorter or longer the grid may make it. */
const GRID_SLACK = 0.1;

/**
 * The pause until the point of the grid next to its end, where that is near enough. The first pause of a loop may be any
 * up to one longer, so that it gets onto the grid.
 */
export function pauseOnGrid(
  pauseMs: number,
  { nowMs, isFirst }: { readonly nowMs: number; readonly isFirst: boolean },
): number {
  if (pauseMs < GRID_MS) return pauseMs;
  const points = (nowMs + pauseMs) / GRID_MS;
  const onGridMs = (isFirst ? Math.ceil(points) : Math.round(points)) * GRID_MS - nowMs;
  return isFirst || Math.abs(onGridMs - pauseMs) <= pauseMs * GRID_SLACK ? onGridMs : pauseMs;
}

function startTimer(
  { everyMs, run, firstAfterMs, onFailure }: LoopTask,
  record: LoopRecord,
  { forget, warn }: { readonly forget: () => void; readonly warn: (err: unknown) => void },
): Loop {
  const stop = new AbortController();
  const turn: Turn = { signal: stop.signal, beat: () => record.beat() };
  let timer: NodeJS.Timeout | undefined;
  let running: Promise<void> = Promise.resolve();
  let isNew = true;

  const runOnce = async (): Promise<void> => {
    try {
      await record.run(async () => await run(turn), stop.signal);
    } catch (err) {
      if (!stop.signal.aborted) (onFailure ?? warn)(err);
    } finally {
      schedule(everyMs());
    }
  };
  const schedule = (pauseMs: number): void => {
    if (stop.signal.aborted) return;
    assert(pauseMs >= 0, 'a loop pauses for no negative time');
    record.schedule(pauseMs);
    // The server keeps the process alive, not the background work.
    timer = setTimeout(
      () => {
        running = runOnce();
      },
      pauseOnGrid(pauseMs, { nowMs: performance.now(), isFirst: isNew }),
    ).unref();
    isNew = false;
  };
  const dispose = (): void => {
    stop.abort(new Error('stopping'));
    clearTimeout(timer);
    forget();
  };
  schedule(firstAfterMs ?? everyMs());
  return {
    [Symbol.dispose]: dispose,
    async [Symbol.asyncDispose]() {
      dispose();
      await running;
    },
  };
}

interface RecordDeps {
  readonly metrics: LoopMetrics | undefined;
  readonly nowMs: () => number;
  readonly uptimeMs: () => number;
}

/** The state of one loop. */
class LoopRecord {
  readonly #name: string;
  readonly #deps: RecordDeps;
  #everyMs: number | undefined;
  /** Turns under way: work that several callers ask for may overlap. */
  #running = 0;
  #runs = 0;
  #lastRunAtMs: number | undefined;
  #tookMs: number | undefined;
  #lastError: LoopReport['lastError'];

  constructor(name: string, deps: RecordDeps) {
    this.#name = name;
    this.#deps = deps;
    this.beat();
    for (const outcome of ['done', 'failed'] as const)
      deps.metrics?.runs.inc({ loop: name, outcome }, 0);
  }

  beat(): void {
    this.#deps.metrics?.lastRun.set({ loop: this.#name }, this.#deps.nowMs() / 1000);
  }

  schedule(everyMs: number | undefined): void {
    this.#everyMs = everyMs;
    const { metrics } = this.#deps;
    if (everyMs === undefined) metrics?.period.remove({ loop: this.#name });
    else metrics?.period.set({ loop: this.#name }, everyMs / 1000);
  }

  /** A loop that was ended on purpose must not look stuck. */
  forget(): void {
    this.#deps.metrics?.lastRun.remove({ loop: this.#name });
    this.#deps.metrics?.period.remove({ loop: this.#name });
  }

  /** A run that fails after `stop` fired was cut short, and is no failure. */
  async run<T>(turn: () => Promise<T>, stop?: AbortSignal): Promise<T> {
    const { nowMs, uptimeMs } = this.#deps;
    const startMs = uptimeMs();
    this.#lastRunAtMs = nowMs();
    this.#running += 1;
    this.beat();
    try {
      const result = await turn();
      this.#note('done');
      return result;
    } catch (error) {
      if (stop?.aborted !== true) {
        this.#note('failed');
        this.#lastError = { atMs: nowMs(), what: nameError(error) };
      }
      throw error;
    } finally {
      this.#running -= 1;
      assert(this.#running >= 0, 'a run ends once');
      this.#tookMs = Math.max(0, uptimeMs() - startMs);
      this.beat();
    }
  }

  report(): LoopReport {
    return {
      name: this.#name,
      everyMs: this.#everyMs,
      isRunning: this.#running > 0,
      runs: this.#runs,
      lastRunAtMs: this.#lastRunAtMs,
      tookMs: this.#tookMs,
      lastError: this.#lastError,
    };
  }

  #note(outcome: 'done' | 'failed'): void {
    this.#runs += 1;
    this.#deps.metrics?.runs.inc({ loop: this.#name, outcome });
  }
}

/**
 * An error as a list that anybody may read shows it. A problem's sentence was written for that; any other
 * message may name paths and addresses, so of those only the kind is given, and the log has the rest.
 */
function nameError(error: unknown): string {
  if (error instanceof Problem) return error.message.slice(0, LOOP_ERROR_MAX_CHARS);
  if (!(error instanceof Error)) return 'unknown';
  const { code } = error as NodeJS.ErrnoException;
  const name = code === undefined ? error.name : `${error.name} ${code}`;
  return name.slice(0, LOOP_ERROR_MAX_CHARS);
}
