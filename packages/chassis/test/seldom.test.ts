import { describe, expect, it } from '@jest/globals';
import { Seldom } from '../src/index.ts';

describe('a line once in a while', () => {
  it('is due at first, and again after ten minutes, for each cause alone', () => {
    let nowMs = 0;
    const seldom = new Seldom(() => nowMs);
    expect(['a', 'a', 'b', 'a'].map((cause) => seldom.isDue(cause))).toEqual([
      true,
      false,
      true,
      false,
    ]);
    nowMs = 10 * 60_000;
    expect(seldom.isDue('a')).toBe(true);
  });

  it('remembers so many causes and no more', () => {
    const seldom = new Seldom();
    for (let count = 0; count < 257; count += 1) seldom.isDue(`host ${count}`);
    expect([seldom.isDue('host 256'), seldom.isDue('host 0')]).toEqual([false, true]);
  });
});
