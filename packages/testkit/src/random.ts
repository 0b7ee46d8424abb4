/**
 * Choices that look random and are the same for the same seed. Each part of a plan forks a generator
 * of its own by name, so that what runs side by side can't take choices from one another. A choice
 * costs a hash, about a microsecond; many random bytes come cheaper from seeded-bytes.ts.
 */
import { createHash } from 'node:crypto';

const SHARE_BYTES = 6;

export interface Random {
  /** At least 0, below 1. */
  share(): number;
  /** A whole number, at least `min` and below `end`. */
  int(min: number, end: number): number;
  /** @throws Error when there is nothing to pick from. */
  pick<T>(items: readonly T[]): T;
  /** Some of the items, each at most once, in a random order. */
  sample<T>(items: readonly T[], count: number): T[];
  /** A generator that depends on this one's seed and the name, not on what was drawn before. */
  fork(name: string | number): Random;
}

export function createRandom(seed: string): Random {
  let drawn = 0;
  const share = (): number => {
    const digest = createHash('sha256').update(`${seed}#${drawn++}`).digest();
    return digest.readUIntBE(0, SHARE_BYTES) / 2 ** (8 * SHARE_BYTES);
  };
  const int = (min: number, end: number): number => min + Math.floor(share() * (end - min));
  return {
    share,
    int,
    pick(items) {
      if (items.length === 0) throw new Error('nothing to pick from');
      return items[int(0, items.length)] as (typeof items)[number]; // the index is within
    },
    sample(items, count) {
      const left = [...items];
      return Array.from(
        { length: Math.min(count, items.length) },
        () => left.splice(int(0, left.length), 1) as [(typeof items)[number]],
      ).flat();
    },
    fork: (name) => createRandom(`${seed}/${name}`),
  };
}
