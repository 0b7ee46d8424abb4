/** Files that were found in order, so that they are passed over until a fresh look is due. */
import { RecentMap } from '@shoal/chassis';
import type { Cid, Pin } from '@shoal/protocol';

/** Files remembered as settled. Past that the oldest is looked at again: work, not harm. */
const SETTLED_MAX = 100_000;

export class SettledFiles {
  readonly #resettleMs: number;
  /** Root → the pin and members that it was settled for, and when. */
  readonly #files = new RecentMap<Cid, { readonly key: string; readonly atMs: number }>({
    max: SETTLED_MAX,
  });

  constructor({ resettleMs }: { readonly resettleMs: number }) {
    this.#resettleMs = resettleMs;
  }

  /** Whether it was, for this very pin and these members, and not too long ago. */
  has(pin: Pin, members: string): boolean {
    const known = this.#files.peek(pin.root);
    if (known?.key !== keyOf(pin, members)) return false;
    return performance.now() - known.atMs < this.#resettleMs;
  }

  /** Answers whether this is the first time for that pin and those members. */
  note(pin: Pin, members: string): boolean {
    const key = keyOf(pin, members);
    const isFirst = this.#files.peek(pin.root)?.key !== key;
    this.#files.set(pin.root, { key, atMs: performance.now() });
    return isFirst;
  }

  forget(root: Cid): void {
    this.#files.delete(root);
  }

  /** False once some were forgotten: then a file that is not here may be settled all the same. */
  hasAll(): boolean {
    return this.#files.size < SETTLED_MAX;
  }
}

const keyOf = ({ replicas, epoch, clock }: Pin, members: string): string =>
  `${replicas} ${epoch} ${clock} ${members}`;
