/**
 * Time that passes only when all work of the moment is done, so that an hour of a thousand peers takes minutes and the
 * machine's speed changes no outcome. Timers, clocks and time-outs of the process are replaced: the code under it is
 * not told. Work on a real disk is waited for (`whileBusy`), and takes no time.
 */
import { createRequire, syncBuiltinESMExports } from 'node:module';

interface Due {
  readonly atMs: number;
  /** Of two at one time the one that was asked for first comes first. */
  readonly order: number;
  run: (() => void) | undefined;
}

const EPOCH_MS = Date.UTC(2026, 0, 1);
/** Turns of the real event loop in which nothing began any more: microtasks and immediates have ended. */
const QUIET_TURNS = 2;

const realImmediate = setImmediate;
const nextTurn = () => new Promise<void>((resolve) => realImmediate(resolve));

export class VirtualTime {
  nowMs = 0;
  readonly #heap: Due[] = [];
  #order = 0;
  #busy = 0;
  /** Immediates that were asked for and have not run. */
  #immediates = 0;

  /** Takes the place of the process's clocks and timers, for good. */
  install(): void {
    Date.now = () => EPOCH_MS + Math.floor(this.nowMs);
    performance.now = () => this.nowMs;
    Object.defineProperty(performance, 'timeOrigin', { value: EPOCH_MS });
    AbortSignal.timeout = (ms) => {
      const abort = new AbortController();
      this.after(ms, () => abort.abort(new DOMException('timed out', 'TimeoutError')));
      return abort.signal;
    };
    const setTimer = (run: (...args: unknown[]) => void, ms = 0, ...args: unknown[]) =>
      new Timer(this, ms, () => run(...args));
    // The types have overloads and promisified forms that nothing here uses.
    globalThis.setTimeout = setTimer as unknown as typeof setTimeout;
    globalThis.clearTimeout = ((timer: unknown) => {
      if (timer instanceof Timer) timer.clear();
    }) as typeof clearTimeout;
    globalThis.setImmediate = ((run: (...args: unknown[]) => void, ...args: unknown[]) => {
      this.#immediates += 1;
      return realImmediate(() => {
        this.#immediates -= 1;
        run(...args);
      });
    }) as unknown as typeof setImmediate;
    const promises = createRequire(import.meta.url)('node:timers/promises') as Record<
      string,
      unknown
    >;
    promises['setTimeout'] = (ms: number, value: unknown, options?: { signal?: AbortSignal }) =>
      this.wait(ms, value, options);
    syncBuiltinESMExports();
  }

  /** Calls back when that much time has passed. */
  after(ms: number, run: () => void): Due {
    const delayMs = Number.isFinite(ms) ? Math.max(0, ms) : 0;
    const due = { atMs: this.nowMs + delayMs, order: (this.#order += 1), run };
    push(this.#heap, due);
    return due;
  }

  wait<T>(ms: number, value?: T, { signal }: { signal?: AbortSignal } = {}): Promise<T> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) return reject(signal.reason as Error);
      const due = this.after(ms, () => {
        signal?.removeEventListener('abort', giveUp);
        resolve(value as T); // given, or of no use to the caller
      });
      const giveUp = (): void => {
        due.run = undefined;
        reject(signal?.reason as Error);
      };
      signal?.addEventListener('abort', giveUp, { once: true });
    });
  }

  /** Time stands still until this real work ends. */
  async whileBusy<T>(work: Promise<T>): Promise<T> {
    this.#busy += 1;
    try {
      return await work;
    } finally {
      this.#busy -= 1;
    }
  }

  /** Lets time pass. */
  async run(ms: number): Promise<void> {
    const endMs = this.nowMs + ms;
    for (;;) {
      await this.#settle();
      const next = this.#heap[0];
      if (next === undefined || next.atMs > endMs) break;
      pop(this.#heap);
      this.nowMs = Math.max(this.nowMs, next.atMs);
      const { run } = next;
      next.run = undefined;
      run?.();
    }
    this.nowMs = endMs;
  }

  /** Lets time pass until this holds. Answers how long that took, or undefined when it took longer than allowed. */
  async until(
    isSo: () => boolean,
    { atMostMs, everyMs }: { readonly atMostMs: number; readonly everyMs: number },
  ): Promise<number | undefined> {
    const startMs = this.nowMs;
    while (!isSo()) {
      if (this.nowMs - startMs >= atMostMs) return undefined;
      await this.run(everyMs);
    }
    return this.nowMs - startMs;
  }

  /** Until nothing is under way but what waits for time. */
  async #settle(): Promise<void> {
    for (let quiet = 0; quiet < QUIET_TURNS; quiet += 1) {
      await nextTurn();
      if (this.#busy > 0 || this.#immediates > 0) quiet = -1;
    }
  }
}

/** What `setTimeout` answers. */
class Timer implements Disposable {
  readonly #time: VirtualTime;
  readonly #ms: number;
  readonly #run: () => void;
  #due: Due;

  constructor(time: VirtualTime, ms: number, run: () => void) {
    this.#time = time;
    this.#ms = ms;
    this.#run = run;
    this.#due = time.after(ms, run);
  }

  clear(): void {
    this.#due.run = undefined;
  }

  refresh(): this {
    this.clear();
    this.#due = this.#time.after(this.#ms, this.#run);
    return this;
  }

  ref = (): this => this;
  unref = (): this => this;
  hasRef = (): boolean => true;
  [Symbol.dispose](): void {
    this.clear();
  }
}

const isBefore = (one: Due, other: Due): boolean =>
  one.atMs < other.atMs || (one.atMs === other.atMs && one.order < other.order);

/** A binary heap, the next one first. */
function push(heap: Due[], due: Due): void {
  let at = heap.push(due) - 1;
  for (let parent = (at - 1) >> 1; at > 0; parent = (at - 1) >> 1) {
    const above = heap[parent];
    if (above === undefined || !isBefore(due, above)) break;
    heap[at] = above;
    at = parent;
  }
  heap[at] = due;
}

function pop(heap: Due[]): void {
  const last = heap.pop();
  if (last === undefined || heap.length === 0) return;
  let at = 0;
  for (;;) {
    const left = 2 * at + 1;
    const [one, other] = [heap[left], heap[left + 1]];
    if (one === undefined) break;
    const [child, place] =
      other !== undefined && isBefore(other, one) ? [other, left + 1] : [one, left];
    if (!isBefore(child, last)) break;
    heap[at] = child;
    at = place;
  }
  heap[at] = last;
}
