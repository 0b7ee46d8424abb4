import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import {
  batchesOf,
  countBits,
  createBits,
  decodeBits,
  encodeBits,
  getBit,
  heldOf,
  setBit,
} from '../src/index.ts';

describe('bits', () => {
  it('survive the wire, each where it was set', () => {
    fc.assert(
      fc.property(fc.array(fc.boolean(), { minLength: 1, maxLength: 2000 }), (wanted) => {
        const bits = createBits(wanted.length);
        wanted.forEach((isSet, index) => isSet && setBit(bits, index));
        const back = decodeBits(encodeBits(bits), wanted.length);
        expect(wanted.map((_, index) => getBit(back, index))).toEqual(wanted);
        expect(countBits(back)).toBe(wanted.filter(Boolean).length);
      }),
      { seed: 20261122 },
    );
  });

  it('of another length are refused', () => {
    expect(() => decodeBits(encodeBits(createBits(16)), 17)).toThrow(RangeError);
  });

  it('name what was asked about, in its order', () => {
    const bits = createBits(9);
    for (const index of [0, 3, 8]) setBit(bits, index);
    expect(heldOf('abcdefghi'.split(''), encodeBits(bits))).toEqual(['a', 'd', 'i']);
    expect(() => heldOf('abcdefgh'.split(''), encodeBits(bits))).toThrow(RangeError);
  });
});

describe('batches', () => {
  it('are all items in their order, each batch full but the last, none empty', () => {
    fc.assert(
      fc.property(fc.array(fc.integer()), fc.integer({ min: 1, max: 70 }), (items, max) => {
        const batches = [...batchesOf(items, max)];
        expect(batches.flat()).toEqual(items);
        expect(batches.slice(0, -1).every(({ length }) => length === max)).toBe(true);
        expect(batches).toHaveLength(Math.ceil(items.length / max));
      }),
      { seed: 20261129 },
    );
  });
});
