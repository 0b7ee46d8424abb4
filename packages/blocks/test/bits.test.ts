import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { countBits, createBits, decodeBits, encodeBits, getBit, setBit } from '../src/index.ts';

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
});
