/** Files that are looked at again by themselves, each by a timer of its own; failures back off exponentially. */
import type { Cid } from '@shoal/protocol';

/** A file that could not be settled is looked at again after this long, doubled with each failure. */
const RETRY_DELAY_MIN_MS = 1500;
/** Files that wait with a timer of their own; past that, for the next pass. */
const RETRIES_MAX = 10_000;

export class Retries implements Disposable {
  readonly #look: (root: Cid) => void;
  readonly #waiting = new Map<
    Cid,
    { readonly timer: NodeJS.Timeout; readonly backOffMs: number }
  >();

  /** @param look Called when a file's time has come. It stays among those that wait until it is forgotten. */
  constructor(look: (root: Cid) => void) {
    this.#look = look;
  }

  get size(): number {
    return this.#waiting.size;
  }

  has(root: Cid): boolean {
    return this.#waiting.has(root);
  }

  /** After a failure: later than the last time, up to a bound. */
  backOff(root: Cid, { delayMaxMs }: { delayMaxMs: number }): void {
    const lastMs = this.#waiting.get(root)?.backOffMs ?? 0;
    const delayMs = Math.min(delayMaxMs, Math.max(RETRY_DELAY_MIN_MS, 2 * lastMs));
    this.#set(root, delayMs, delayMs);
  }

  /** After this long, whatever came before. */
  lookIn(root: Cid, delayMs: number): void {
    this.#set(root, delayMs, 0);
  }

  forget(root: Cid): void {
    clearTimeout(this.#waiting.get(root)?.timer);
    this.#waiting.delete(root);
  }

  /** Forgets all of them; gives their roots. */
  forgetAll(): Cid[] {
    const roots = [...this.#waiting.keys()];
    for (const root of roots) this.forget(root);
    return roots;
  }

  #set(root: Cid, delayMs: number, backOffMs: number): void {
    const before = this.#waiting.get(root);
    if (before === undefined && this.#waiting.size >= RETRIES_MAX) return;
    clearTimeout(before?.timer);
    const timer = setTimeout(() => this.#look(root), delayMs);
    this.#waiting.set(root, { timer, backOffMs });
  }

  [Symbol.dispose](): void {
    this.forgetAll();
  }
}
