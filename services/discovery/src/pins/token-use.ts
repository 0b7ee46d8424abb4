/**
 * Bytes of the live files that each token put, as far as their pins are known here: kept as sums, since it is asked for
 * with every upload by a token that has a quota. A peer may not know all pins yet, so it may count too little.
 */
import type { Cid, Pin } from '@shoal/protocol';
import { isLive } from '@shoal/swarm';

type Counted = Pick<Pin, 'sizeBytes'> & { readonly token: string };

export class TokenUse {
  /** Only files that a token put: no others are kept here. */
  readonly #counted = new Map<Cid, Counted>();
  readonly #sums = new Map<string, number>();

  /** A pin as it is now. */
  note(pin: Pin, nowMs: number): void {
    const { root, token, sizeBytes } = pin;
    const before = this.#counted.get(root);
    if (before !== undefined) {
      this.#counted.delete(root);
      this.#add(before.token, -before.sizeBytes);
    }
    if (token === undefined || !isLive(pin, nowMs)) return;
    this.#counted.set(root, { token, sizeBytes });
    this.#add(token, sizeBytes);
  }

  of(token: string): number {
    return this.#sums.get(token) ?? 0;
  }

  #add(token: string, bytes: number): void {
    const sum = this.of(token) + bytes;
    if (sum === 0) this.#sums.delete(token);
    else this.#sums.set(token, sum);
  }
}
