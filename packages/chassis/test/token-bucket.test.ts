import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { createTokenBucket } from '../src/shares/token-bucket.ts';

describe('createTokenBucket', () => {
  it('lets a second’s worth go at once, then as much as comes in', () => {
    let nowMs = 0;
    const bucket = createTokenBucket({ ratePerSecond: 100, nowMs: () => nowMs });
    bucket.spend(100);
    expect(bucket.delayMs()).toBe(0);
    bucket.spend(50);
    expect(bucket.delayMs()).toBe(500);
    nowMs = 499;
    expect(bucket.delayMs()).toBe(1);
    nowMs = 500;
    expect(bucket.delayMs()).toBe(0);
  });

  it('saves up no more than a second’s worth', () => {
    let nowMs = 0;
    const bucket = createTokenBucket({ ratePerSecond: 100, nowMs: () => nowMs });
    nowMs = 3_600_000;
    bucket.spend(200);
    expect(bucket.delayMs()).toBe(1000);
  });

  it('sets no limit with a rate of 0', () => {
    const bucket = createTokenBucket({ ratePerSecond: 0, nowMs: () => 0 });
    bucket.spend(1e12);
    expect(bucket.delayMs()).toBe(0);
  });

  it('keeps the rate over any run, but for the burst and the last block', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 10_000 }),
        fc.array(fc.integer({ min: 0, max: 20_000 }), { minLength: 1, maxLength: 200 }),
        (ratePerSecond, sizes) => {
          let nowMs = 0;
          const bucket = createTokenBucket({ ratePerSecond, nowMs: () => nowMs });
          let spent = 0;
          for (const size of sizes) {
            nowMs += bucket.delayMs();
            expect(bucket.delayMs()).toBe(0); // the wait that it named is enough
            const allowed = ratePerSecond * (1 + nowMs / 1000);
            expect(spent).toBeLessThanOrEqual(allowed + 1e-6 * allowed);
            bucket.spend(size);
            spent += size;
          }
        },
      ),
      { seed: 20261122, numRuns: 200 },
    );
  });
});
