import { describe, expect, it } from '@jest/globals';
import { createBits, type DagEntry, setBit } from '@shoal/blocks';
import type { Cid } from '@shoal/protocol';
import fc from 'fast-check';
import { leftToHandOver, onlyHere } from '../../src/leave/unsafe-blocks.ts';

/** One node and its leaves. */
const entriesOf = (leaves: number): DagEntry[] =>
  Array.from({ length: leaves + 1 }, (_, index) => ({
    cid: `cid-${index}` as Cid, // nothing here parses it
    kind: index === 0 ? 'node' : 'leaf',
    sizeBytes: 1,
    offset: index,
  }));
const bitsOf = (count: number, indexes: readonly number[]): Uint8Array => {
  const bits = createBits(count);
  for (const index of indexes) setBit(bits, index);
  return bits;
};
const entries = entriesOf(3);
const own = (indexes: readonly number[]) => bitsOf(4, indexes);

describe('leftToHandOver', () => {
  it('counts each leaf that is here, whoever else has it', () => {
    const left = leftToHandOver(entries, {
      own: own([0, 1, 2]),
      others: [own([0, 1, 2, 3])],
    });
    expect(left).toEqual(['cid-1', 'cid-2']);
  });

  it('counts a manifest node only while nobody else has it', () => {
    const held = { own: own([0]) };
    expect(leftToHandOver(entries, { ...held, others: [own([1, 2, 3])] })).toEqual(['cid-0']);
    expect(leftToHandOver(entries, { ...held, others: [own([1]), own([0])] })).toEqual([]);
  });

  it('is empty only when each block that is here is a node that others have', () => {
    const indexes = fc.uniqueArray(fc.nat(8));
    fc.assert(
      fc.property(indexes, fc.array(indexes, { maxLength: 4 }), (here, there) => {
        const others = there.map((held) => bitsOf(9, held));
        const left = leftToHandOver(entriesOf(8), { own: bitsOf(9, here), others });
        if (left.length > 0) return;
        for (const index of here) {
          expect(index).toBe(0);
          expect(there.some((held) => held.includes(0))).toBe(true);
        }
      }),
      { seed: 20261122, numRuns: 300 },
    );
  });
});

describe('onlyHere', () => {
  it('names what we hold and no other peer confirmed, each block once', () => {
    const twice: DagEntry[] = [
      ...entries,
      { cid: 'cid-1' as Cid, kind: 'leaf', sizeBytes: 1, offset: 9 },
    ];
    const held = { own: bitsOf(5, [0, 1, 2, 4]), others: [bitsOf(5, [0, 3]), bitsOf(5, [2])] };
    expect(onlyHere(twice, held)).toEqual(['cid-1']);
    expect(onlyHere(entries, { own: own([0, 1]), others: [] })).toEqual(['cid-0', 'cid-1']);
    expect(onlyHere(entries, { own: own([]), others: [] })).toEqual([]);
  });
});
