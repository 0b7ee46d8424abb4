import { describe, expect, it } from '@jest/globals';
import { RequestInvalid } from '@shoal/protocol';
import fc from 'fast-check';
import { bytesIn, readCarQuery } from '../../../src/ipfs/archive/car-query.ts';

describe('readCarQuery', () => {
  it('means everything below, unless a scope is named', () => {
    expect(readCarQuery({})).toEqual({ scope: 'all', entityBytes: undefined });
    expect(readCarQuery({ 'dag-scope': 'block' }).scope).toBe('block');
  });

  it('takes bytes to mean one entity', () => {
    const bytes = { from: 0, to: undefined };
    expect(readCarQuery({ 'entity-bytes': '0:*' })).toEqual({
      scope: 'entity',
      entityBytes: bytes,
    });
    const asked = { 'entity-bytes': '0:*', 'dag-scope': 'block' };
    expect(readCarQuery(asked).scope).toBe('block');
  });

  it.each(['', 'x', '1', '1:', ':1', '1:x', '5:1', '-1:-5', '*:5', '1:2:3', '1.5:2'])(
    'refuses the bytes "%s"',
    (text) => {
      expect(() => readCarQuery({ 'entity-bytes': text })).toThrow(RequestInvalid);
    },
  );

  it('refuses a scope that is none', () => {
    expect(() => readCarQuery({ 'dag-scope': 'some' })).toThrow(RequestInvalid);
  });
});

describe('bytesIn', () => {
  it.each([
    [
      { from: 0, to: undefined },
      { start: 0, end: 99 },
    ],
    [
      { from: 90, to: 200 },
      { start: 90, end: 99 },
    ],
    [
      { from: -5, to: undefined },
      { start: 95, end: 99 },
    ],
    [
      { from: -500, to: -3 },
      { start: 0, end: 97 },
    ],
    [{ from: 100, to: undefined }, undefined],
    [{ from: 50, to: -60 }, undefined],
  ])('finds %j among 100', (asked, range) => {
    expect(bytesIn(asked, 100)).toEqual(range);
  });

  it('never leaves the file', () => {
    const ends = fc.option(fc.integer({ min: -300, max: 300 }), { nil: undefined });
    fc.assert(
      fc.property(fc.integer({ min: -300, max: 300 }), ends, fc.nat(200), (from, to, sizeBytes) => {
        const range = bytesIn({ from, to }, sizeBytes);
        if (range === undefined) return;
        expect(range.start).toBeGreaterThanOrEqual(0);
        expect(range.end).toBeLessThan(sizeBytes);
        expect(range.start).toBeLessThanOrEqual(range.end);
      }),
      { seed: 20261122 },
    );
  });
});
