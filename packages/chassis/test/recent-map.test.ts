import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { RecentMap } from '../src/index.ts';

const keysOf = <K, V>(map: RecentMap<K, V>): K[] => [...map].map(([key]) => key);

describe('a recent map', () => {
  it('evicts the least recently used, and says which', () => {
    const evicted: [string, number][] = [];
    const map = new RecentMap<string, number>({
      max: 2,
      onEvict: (...entry) => evicted.push(entry),
    });
    map.set('a', 1);
    map.set('b', 2);
    expect(map.get('a')).toBe(1);
    map.set('c', 3);
    expect(evicted).toEqual([['b', 2]]);
    expect(keysOf(map)).toEqual(['a', 'c']);
  });

  it('is first in, first out for a reader that peeks', () => {
    const map = new RecentMap<string, number>({ max: 2 });
    map.set('a', 1);
    map.set('b', 2);
    expect([map.peek('a'), map.has('a')]).toEqual([1, true]);
    map.set('c', 3);
    expect(keysOf(map)).toEqual(['b', 'c']);
  });

  it('moves what is set again to the end, with no eviction', () => {
    const evicted: string[] = [];
    const map = new RecentMap<string, number>({ max: 2, onEvict: (key) => evicted.push(key) });
    for (const key of ['a', 'b', 'a']) map.set(key, map.size);
    expect(keysOf(map)).toEqual(['b', 'a']);
    expect(evicted).toEqual([]);
  });

  it('keeps nothing that weighs more than the bound, and drops no other for what fits', () => {
    const map = new RecentMap<string, string>({ max: 5, weightOf: (text) => text.length });
    map.set('a', 'xx');
    map.set('b', 'xxx');
    expect([keysOf(map), map.weight]).toEqual([['a', 'b'], 5]);
    map.set('c', 'xxxxxx');
    expect([keysOf(map), map.weight]).toEqual([[], 0]);
  });

  it('bounds entries and their weights together, when it is given both', () => {
    const map = new RecentMap<string, number>({
      max: 5,
      entriesMax: 2,
      weightOf: (value) => value,
    });
    for (const key of ['a', 'b', 'c']) map.set(key, 1);
    expect([keysOf(map), map.weight]).toEqual([['b', 'c'], 2]);
    map.set('d', 5);
    expect([keysOf(map), map.weight]).toEqual([['d'], 5]);
  });

  it('gives nothing after its time to live, which reading does not prolong', () => {
    let nowMs = 0;
    const evicted: string[] = [];
    const map = new RecentMap<string, number>({
      max: 10,
      ttlMs: 100,
      clock: () => nowMs,
      onEvict: (key) => evicted.push(key),
    });
    map.set('a', 1);
    map.set('short', 2, { ttlMs: 10 });
    nowMs = 99;
    expect([map.get('a'), map.get('short')]).toEqual([1, undefined]);
    nowMs = 100;
    expect(keysOf(map)).toEqual([]);
    expect([map.has('a'), map.size]).toEqual([false, 0]);
    expect(evicted).toEqual(['short', 'a']);
  });

  it('tells a value that is undefined from none', () => {
    const map = new RecentMap<string, undefined>({ max: 1 });
    map.set('a', undefined);
    expect([map.has('a'), map.has('b')]).toEqual([true, false]);
  });

  it('takes no entry that would make room for more than the bound', () => {
    const map = new RecentMap<string, number>({ max: 1, weightOf: (value) => value });
    expect(() => map.set('a', -1)).toThrow('weighs -1');
    expect(() => map.set('a', Number.NaN)).toThrow('weighs NaN');
  });

  it('does what a list in order of use does', () => {
    const step = fc.record({
      key: fc.integer({ min: 0, max: 6 }),
      act: fc.constantFrom('get' as const, 'set' as const, 'delete' as const),
    });
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 200 }),
        fc.integer({ min: 1, max: 5 }),
        (all, max) => {
          const map = new RecentMap<number, number>({ max });
          let list: number[] = [];
          for (const { key, act } of all) {
            const isHere = list.includes(key);
            if (act !== 'get' || isHere) list = list.filter((other) => other !== key);
            if (act === 'set' || (act === 'get' && isHere)) list.push(key);
            list = list.slice(-max);
            const does = {
              get: () => map.get(key),
              set: () => map.set(key, key),
              delete: () => map.delete(key),
            };
            const gives = { get: isHere ? key : undefined, set: undefined, delete: isHere };
            expect(does[act]()).toBe(gives[act]);
            expect([keysOf(map), map.size, map.weight]).toEqual([list, list.length, list.length]);
          }
        },
      ),
      { seed: 20261129 },
    );
  });
});
