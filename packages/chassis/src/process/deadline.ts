/**
 * A signal that fires with another one, or when a time is over, until it is disposed of. `AbortSignal.timeout` can't be
 * taken back: of each call that was answered it leaves a timer, and in the end an error with a stack for nobody.
 */
export class Deadline implements Disposable {
  readonly #over = new AbortController();
  readonly #timer: NodeJS.Timeout | undefined;
  readonly #signal: AbortSignal | undefined;

  /** @param timeoutMs Infinity: only the signal ends it. */
  constructor(timeoutMs: number, signal?: AbortSignal) {
    this.#signal = signal;
    if (timeoutMs !== Infinity)
      this.#timer = setTimeout(() => {
        this.#over.abort(new DOMException(`no end within ${timeoutMs} ms`, 'TimeoutError'));
      }, timeoutMs).unref();
    if (signal?.aborted === true) this.#onAbort();
    else signal?.addEventListener('abort', this.#onAbort, { once: true });
  }

  get signal(): AbortSignal {
    return this.#over.signal;
  }

  readonly #onAbort = (): void => this.#over.abort(this.#signal?.reason);

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#signal?.removeEventListener('abort', this.#onAbort);
  }
}
