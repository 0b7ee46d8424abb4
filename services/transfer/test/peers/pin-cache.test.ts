import { describe, expect, it } from '@jest/globals';
import type { Pin } from '@shoal/protocol';
import { PinCache } from '../../src/peers/pin-cache.ts';
import { cidOf, pinOf } from '../paper.ts';

describe('a pin that is remembered', () => {
  const [one, two] = [pinOf('one'), pinOf('two')];
  const noted = (...pins: (Pin | null)[]): PinCache => {
    const cache = new PinCache();
    cache.note(pins, cache.turn);
    return cache;
  };

  it('is given by its CID, and by nothing else', () => {
    const cache = noted(one, null);
    expect(cache.find(one.root)).toEqual(one);
    expect(cache.find(two.root)).toBeUndefined();
    expect(cache.find('a'.repeat(64))).toBeUndefined();
  });

  it('is forgotten when it changed, and when any may have', () => {
    const cache = noted(one, two);
    cache.forget([one.root], { isAll: false });
    expect(cache.find(one.root)).toBeUndefined();
    expect(cache.find(two.root)).toEqual(two);
    cache.forget([], { isAll: true });
    expect(cache.find(two.root)).toBeUndefined();
  });

  it.each([
    ['it changed', [one.root], false],
    ['any may have changed', [], true],
  ])('is not kept when %s while discovery answered', (_, roots, isAll) => {
    const cache = new PinCache();
    const { turn } = cache;
    cache.forget(roots, { isAll });
    cache.note([one], turn);
    expect(cache.find(one.root)).toBeUndefined();
    cache.note([one], cache.turn);
    expect(cache.find(one.root)).toEqual(one);
  });

  it('is not kept either when more changed meanwhile than are remembered', () => {
    const cache = new PinCache();
    const { turn } = cache;
    cache.forget([one.root], { isAll: false });
    for (let at = 0; at < 5000; at += 1) cache.forget([cidOf(`other ${at}`)], { isAll: false });
    cache.note([one, two], turn);
    expect(cache.find(one.root)).toBeUndefined();
  });

  it('is not given once it ended or when it is of a deleted file', () => {
    const ending = pinOf('ending', { expiresAtMs: Date.now() - 1 });
    const deleted = pinOf('deleted', { deleted: true });
    const cache = noted(ending, deleted);
    expect(cache.find(ending.root)).toBeUndefined();
    expect(cache.find(deleted.root)).toBeUndefined();
  });
});
