/** The leaves of an upload that may take days, in 32 bytes each: all of them are raw. */
import { cidOf, digestOf } from '@shoal/blocks';
import type { Cid } from '@shoal/protocol';

const DIGEST_SIZE_BYTES = 32;
const CAPACITY_MIN = 16;

export interface Leaves {
  readonly count: number;
  push(cid: Cid): void;
  at(index: number): Cid;
  /** CIDs of the leaves from this one on, at most `limit`. */
  slice(from: number, limit: number): Cid[];
  /** Forgets all but the first `count`. */
  cut(count: number): void;
}

export function createLeaves(): Leaves {
  let digests = new Uint8Array(CAPACITY_MIN * DIGEST_SIZE_BYTES);
  let count = 0;
  const at = (index: number): Cid => {
    if (index >= count) throw new RangeError(`leaf ${index} of ${count}`);
    return cidOf(
      'raw',
      digests.subarray(index * DIGEST_SIZE_BYTES, (index + 1) * DIGEST_SIZE_BYTES),
    );
  };
  return {
    get count() {
      return count;
    },
    push(cid) {
      const end = count * DIGEST_SIZE_BYTES;
      if (end === digests.length) {
        const larger = new Uint8Array(digests.length * 2);
        larger.set(digests);
        digests = larger;
      }
      digests.set(digestOf(cid), end);
      count += 1;
    },
    at,
    slice: (from, limit) =>
      Array.from({ length: Math.max(0, Math.min(limit, count - from)) }, (_, index) =>
        at(from + index),
      ),
    cut(to) {
      count = Math.min(count, to);
    },
  };
}
