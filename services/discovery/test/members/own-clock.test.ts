import { describe, expect, it } from '@jest/globals';
import { ClockWrong, type MemberState } from '@shoal/protocol';
import { createOwnClock, nearMedian } from '../../src/members/own-clock.ts';

const DAY_MS = 24 * 3_600_000;
const NOW_MS = 1_800_000_000_000;

/** A peer among members whose clocks are ahead of its own by these many days; their records are 1 s old. */
function among(days: readonly (number | undefined)[], state: MemberState = 'alive') {
  return createOwnClock({
    members: () =>
      days.map((each) => ({
        state,
        signedByMs: 4000,
        isProven: true,
        record: { atMs: each === undefined ? undefined : NOW_MS - 1000 + each * DAY_MS },
      })),
    clock: () => 5000,
    nowMs: () => NOW_MS,
  });
}

describe("a peer's own clock", () => {
  it.each([
    [[], 'unknown'],
    [[undefined], 'unknown'],
    [[0], 'right'],
    [[1, -1], 'right'],
    [[7], 'right'],
    [[-7], 'right'],
    [[7.1], 'wrong'],
    [[-7.1], 'wrong'],
    [[9, 9.1, 9.2], 'wrong'],
    // One of them lies, or is as wrong.
    [[0, 1000], 'right'],
    [[1000, 0, 0.5], 'right'],
    [[-1000, -1000, 0, 0], 'right'],
    [[-1000, -1000, 0], 'wrong'],
  ] as const)('among members that are %j days ahead is %s', (days, verdict) => {
    expect(among(days).verdict()).toBe(verdict);
  });

  it('is judged by members that are up alone', () => {
    expect(among([9, 9], 'suspect').verdict()).toBe('wrong');
    expect(among([9, 9], 'down').verdict()).toBe('unknown');
  });

  it('refuses writes when it is wrong, and says by how much', () => {
    expect(() => among([0]).check()).not.toThrow();
    expect(() => among([]).check()).not.toThrow();
    expect(() => among([-9]).check()).toThrow(ClockWrong);
    expect(() => among([-9]).check()).toThrow(/clock is 9 days ahead of the clocks of its members/);
    expect(() => among([30]).check()).toThrow(/clock is 30 days behind the clocks/);
  });

  it('is compared with the middle, of two with the nearer', () => {
    expect(nearMedian([])).toBeUndefined();
    expect(nearMedian([5])).toBe(5);
    expect(nearMedian([-3, 5])).toBe(-3);
    expect(nearMedian([9, 1, 5])).toBe(5);
  });
});
