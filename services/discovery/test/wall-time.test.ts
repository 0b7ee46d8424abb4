import { describe, expect, it } from '@jest/globals';
import { createWallTime } from '../src/wall-time.ts';

describe('the date of a moment', () => {
  const time = { ms: 0.7, offsetMs: 1_000_000 };
  const wallTimeOf = createWallTime({
    clock: () => time.ms,
    // In whole milliseconds, as the system's.
    nowMs: () => Math.floor(time.offsetMs + time.ms),
  });

  it('is the same whenever it is asked for', () => {
    const dates = new Set<number>();
    for (let i = 0; i < 1000; i += 1) {
      time.ms += 0.31;
      dates.add(wallTimeOf(5000.9));
    }
    expect([...dates]).toHaveLength(1);
    expect(Math.abs(([...dates][0] ?? 0) - 1_005_000)).toBeLessThanOrEqual(1);
  });

  it('moves when the wall clock was set', () => {
    time.offsetMs += 3_600_000;
    expect(Math.abs(wallTimeOf(5000.9) - 4_605_000)).toBeLessThanOrEqual(1);
    time.offsetMs = 0;
    expect(wallTimeOf(-5000)).toBe(0);
  });
});
