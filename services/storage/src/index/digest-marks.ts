/**
 * Which of the blocks held here pins reach, and how many copies they ask for.
 *
 * A store holds millions of blocks, so each is a 64-bit prefix of its digest and two bytes, in
 * packed arrays that are filled in the order of the index and searched by bisection. Two blocks with
 * one prefix share their mark: the higher demand then counts for both, which at worst spares garbage.
 */
import assert from 'node:assert';
import { REPLICAS_MAX } from '@shoal/protocol';
import type { Digest } from '../disk/block-record.ts';

export interface Mark {
  /** Copies that the most demanding pin asks for; 0 when none reaches the block. */
  readonly replicas: number;
  /** True when a pin reaches it as a manifest node. */
  readonly isNode: boolean;
}

export interface DigestMarks {
  /** Takes in a block that is held, with the replicas that its record asks for; digests must ascend. */
  add(digest: Digest, replicas: number): void;
  /** Marks a block as reached. Answers the replicas it was taken in with; undefined when it was not. */
  mark(digest: Digest, by: Mark): number | undefined;
  /** Undefined for a block that was not taken in. */
  of(digest: Digest): Mark | undefined;
  readonly size: number;
}

/** Room for what comes in while the table is filled, as a share of it. */
const HEADROOM_SHARE = 1 / 8;
const FLAG_NODE = 0x80;

/** @param expectedSize Blocks held now: the table is made for that many, and grows when there are more. */
export function createDigestMarks(expectedSize: number): DigestMarks {
  let high = new Uint32Array(grown(expectedSize));
  let low = new Uint32Array(high.length);
  let recorded = new Uint8Array(high.length);
  let marks = new Uint8Array(high.length);
  let size = 0;

  const grow = (): void => {
    const length = grown(size);
    const copyInto = <T extends Uint32Array | Uint8Array>(larger: T, from: T): T => {
      larger.set(from);
      return larger;
    };
    high = copyInto(new Uint32Array(length), high);
    low = copyInto(new Uint32Array(length), low);
    recorded = copyInto(new Uint8Array(length), recorded);
    marks = copyInto(new Uint8Array(length), marks);
  };
  const isBefore = (at: number, first: number, second: number): boolean => {
    const there = high[at] ?? 0;
    return there === first ? (low[at] ?? 0) < second : there < first;
  };
  const indexOf = (digest: Digest): number | undefined => {
    const [first, second] = prefixOf(digest);
    let from = 0;
    for (let to = size; from < to;) {
      const middle = (from + to) >>> 1;
      if (isBefore(middle, first, second)) from = middle + 1;
      else to = middle;
    }
    return from < size && high[from] === first && low[from] === second ? from : undefined;
  };

  return {
    add(digest, replicas) {
      const [first, second] = prefixOf(digest);
      const last = size - 1;
      if (size > 0 && high[last] === first && low[last] === second) {
        recorded[last] = Math.max(recorded[last] ?? 0, replicas);
        return;
      }
      assert(
        size === 0 || isBefore(last, first, second),
        'digests are taken in in ascending order',
      );
      if (size === high.length) grow();
      high[size] = first;
      low[size] = second;
      recorded[size] = replicas;
      size += 1;
    },
    mark(digest, { replicas, isNode }) {
      const at = indexOf(digest);
      if (at === undefined) return undefined;
      const mark = marks[at] ?? 0;
      const highest = Math.max(mark & ~FLAG_NODE, Math.min(replicas, REPLICAS_MAX));
      marks[at] = highest | (isNode ? FLAG_NODE : mark & FLAG_NODE);
      return recorded[at];
    },
    of(digest) {
      const at = indexOf(digest);
      if (at === undefined) return undefined;
      const mark = marks[at] ?? 0;
      return { replicas: mark & ~FLAG_NODE, isNode: (mark & FLAG_NODE) !== 0 };
    },
    get size() {
      return size;
    },
  };
}

const grown = (size: number): number => Math.ceil(size * (1 + HEADROOM_SHARE)) + 64;

const prefixOf = (digest: Digest): readonly [number, number] => [
  Number.parseInt(digest.slice(0, 8), 16),
  Number.parseInt(digest.slice(8, 16), 16),
];
