/**
 * A counter that grows whenever a block stops counting as a copy here: it was deleted, condemned, found damaged, or is
 * about to be dropped. While it stays the same, whatever was said to be held still is, so that one number keeps the
 * statements on any number of files true. It begins anywhere, so that a restart looks like a loss: what was not
 * synced, or happened meanwhile, is asked for again.
 */
import { randomInt } from 'node:crypto';
import { LOSSES_MAX } from '@shoal/protocol';

/** Callers that wait for a loss at once; this peer's discovery has one. Past it: answered at once. */
const WAITERS_MAX = 64;

export class Losses {
  #count = randomInt(LOSSES_MAX / 2);
  readonly #waiting = new Set<() => void>();

  get count(): number {
    return this.#count;
  }

  note(losses = 1): void {
    if (losses === 0) return;
    this.#count += losses;
    for (const resolve of this.#waiting) resolve();
  }

  /** Resolves when the counter differs from `known`, at the latest after `waitMs`. */
  async changed(known: number, waitMs: number, signal: AbortSignal): Promise<void> {
    if (this.#count !== known || this.#waiting.size >= WAITERS_MAX || waitMs === 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, waitMs);
    const leave = () => resolve();
    this.#waiting.add(resolve);
    signal.addEventListener('abort', leave, { once: true });
    await promise;
    signal.removeEventListener('abort', leave);
    this.#waiting.delete(resolve);
    clearTimeout(timer);
  }
}
