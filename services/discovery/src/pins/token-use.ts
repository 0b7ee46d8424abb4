/**
 * Bytes of the live files that each token put, as far as their pins are known here: kept as sums, since it is asked for
 * with every upload by a token that has a quota. A peer may not know all pins yet, so it may count too little.
 */
import type { Cid, Pin } from '@shoal/protocol';
import { isLive } from '@shoal/swarm';

type Counted = Pick<Pin, 'sizeBytes'> & { readonly token: string };

export class TokenUse {
  /** Only files that a token put: no others are kept here. */
  readonly #counted = new Map<Cid, readonly Counted[]>();
  readonly #sums = new Map<string, number>();

  /** The pins of a file as they are now, one of each author. */
  note(root: Cid, pins: readonly Pin[], nowMs: number): void {
    for (const { token, sizeBytes } of this.#counted.get(root) ?? []) this.#add(token, -sizeBytes);
    const counted = pins.flatMap(({ token, sizeBytes, ...pin }) =>
      token === undefined || !isLive({ ...pin, sizeBytes }, nowMs) ? [] : [{ token, sizeBytes }],
    );
    for (const { token, sizeBytes } of counted) this.#add(token, sizeBytes);
    if (counted.length === 0) this.#counted.delete(root);
    else this.#counted.set(root, counted);
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
