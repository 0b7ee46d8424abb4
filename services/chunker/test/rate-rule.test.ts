import { describe, expect, it } from '@jest/globals';
import { createRateRule } from '@shoal/chassis';

const rule = () => createRateRule({ bytesPerSecondMin: 1024, windowMs: 20_000, startedAtMs: 0 });

/** Feeds a second at a time; gives the second in which the sender was found too slow. */
function firstSlowSecond(
  seconds: number,
  bytesIn: (second: number) => number,
  isWaiting: (second: number) => boolean = () => true,
): number | undefined {
  const judge = rule();
  let receivedBytes = 0;
  for (let second = 1; second <= seconds; second += 1) {
    receivedBytes += bytesIn(second);
    const sample = { nowMs: second * 1000, receivedBytes, isWaiting: isWaiting(second) };
    if (judge.isTooSlow(sample)) return second;
  }
  return undefined;
}

describe('the rate rule', () => {
  it('gives a silent sender the whole window', () => {
    expect(firstSlowSecond(60, () => 0)).toBe(20);
  });

  it('lets a sender be slow for hours when it keeps the rate', () => {
    expect(firstSlowSecond(7200, () => 1024)).toBeUndefined();
  });

  it('judges the mean over the window, not one second', () => {
    expect(firstSlowSecond(600, (second) => (second % 10 === 0 ? 20 * 1024 : 0))).toBeUndefined();
  });

  it('notices a sender that was fast before', () => {
    expect(firstSlowSecond(100, (second) => (second <= 10 ? 10_000_000 : 1))).toBe(30);
  });

  it('does not count the time in which the sender was held back', () => {
    expect(
      firstSlowSecond(
        600,
        () => 0,
        () => false,
      ),
    ).toBeUndefined();
  });
});
