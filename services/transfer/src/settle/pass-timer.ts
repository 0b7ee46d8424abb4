/** When the next pass runs: one at a time, soon after it is asked for, and now and then anyway. */
import assert from 'node:assert/strict';
import type { Log } from '@shoal/chassis';

type State =
  | { readonly is: 'idle' }
  | { readonly is: 'waiting'; readonly timer: NodeJS.Timeout; readonly dueAtMs: number }
  | { readonly is: 'running'; readonly pass: Promise<void>; /** Meanwhile. */ isAskedFor: boolean };

export class PassTimer implements AsyncDisposable {
  readonly #pass: () => Promise<void>;
  readonly #delayMs: number;
  readonly #intervalMs: number;
  readonly #log: Log;
  #state: State = { is: 'idle' };
  #isStopped = false;

  constructor({
    pass,
    delayMs,
    intervalMs,
    log,
  }: {
    readonly pass: () => Promise<void>;
    /** Wait after something changed: changes come in bursts. */
    readonly delayMs: number;
    /** Wait after a pass when nothing does. */
    readonly intervalMs: number;
    readonly log: Log;
  }) {
    this.#pass = pass;
    this.#delayMs = delayMs;
    this.#intervalMs = intervalMs;
    this.#log = log;
  }

  /** Something changed: a pass is due soon, after the one that runs. */
  passSoon(): void {
    this.#passIn(this.#delayMs);
  }

  #passIn(delayMs: number): void {
    const state = this.#state;
    if (this.#isStopped) return;
    if (state.is === 'running') {
      state.isAskedFor = true;
      return;
    }
    // A wait is not begun anew: members that change all the time must not hold the pass up.
    const asked = performance.now() + delayMs;
    const dueAtMs = state.is === 'waiting' ? Math.min(state.dueAtMs, asked) : asked;
    if (state.is === 'waiting') clearTimeout(state.timer);
    const timer = setTimeout(() => this.#run(), Math.max(0, dueAtMs - performance.now()));
    this.#state = { is: 'waiting', timer, dueAtMs };
  }

  #run(): void {
    assert(this.#state.is === 'waiting', 'one pass at a time');
    this.#state = { is: 'running', pass: this.#runPass(), isAskedFor: false };
  }

  async #runPass(): Promise<void> {
    try {
      await this.#pass();
    } catch (err) {
      this.#log.debug({ err }, 'pass not finished');
    }
    const state = this.#state;
    assert(state.is === 'running', 'only its own end ends a pass');
    this.#state = { is: 'idle' };
    this.#passIn(state.isAskedFor ? this.#delayMs : this.#intervalMs);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isStopped = true;
    if (this.#state.is === 'waiting') clearTimeout(this.#state.timer);
    if (this.#state.is === 'running') await this.#state.pass;
  }
}
