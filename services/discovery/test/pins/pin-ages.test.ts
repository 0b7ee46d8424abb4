import { describe, expect, it } from '@jest/globals';
import type { Cid } from '@shoal/protocol';
import { createPinAges } from '../../src/pins/pin-ages.ts';

const DAY_MS = 24 * 3_600_000;
const NEW_MS = 1000;
const WALL_MS = 10 * DAY_MS;
const root = 'root' as Cid; // nothing here parses it

function agesAt(seenMax?: number) {
  const time = { nowMs: 0 };
  const ages = createPinAges({
    clock: () => time.nowMs,
    wallClock: () => WALL_MS + time.nowMs,
    wallTimeOf: (atMs) => WALL_MS + atMs,
    ...(seenMax === undefined ? {} : { seenMax }),
  });
  return { time, ages };
}

describe('the age of a pin', () => {
  it('is at least the time since it was first seen here, though its clock is ahead', () => {
    const { time, ages } = agesAt();
    ages.note(root, true);
    time.nowMs = 5000;
    const pin = { root, createdAtMs: WALL_MS + DAY_MS, clock: WALL_MS + DAY_MS };
    expect(ages.createdAtMs(pin)).toBe(WALL_MS);
    expect(ages.isYoung(pin, NEW_MS)).toBe(false);
    ages.note(root, true); // changed: young again, made when it was
    expect(ages.isYoung(pin, NEW_MS)).toBe(true);
    expect(ages.createdAtMs(pin)).toBe(WALL_MS);
  });

  it('is that of what comes in now, though its clock is behind; of what was caught up on, its date', () => {
    const { ages } = agesAt();
    const pin = { root, clock: WALL_MS - DAY_MS };
    ages.note(root, false);
    expect(ages.isYoung(pin, NEW_MS)).toBe(false);
    ages.note(root, true);
    expect(ages.isYoung(pin, NEW_MS)).toBe(true);
  });

  it('of what was here at the start is at least the time since then', () => {
    const { time, ages } = agesAt();
    const pin = { root, createdAtMs: WALL_MS + DAY_MS, clock: WALL_MS + DAY_MS };
    expect(ages.isYoung(pin, NEW_MS)).toBe(true);
    time.nowMs = NEW_MS;
    expect(ages.isYoung(pin, NEW_MS)).toBe(false);
    expect(ages.createdAtMs(pin)).toBe(WALL_MS);
    expect(ages.createdAtMs({ root, createdAtMs: 5 })).toBe(5);
    expect(ages.knownForMs(pin)).toBeUndefined();
  });

  it('of one that was forgotten is no more than its date says', () => {
    const { time, ages } = agesAt(1);
    time.nowMs = 5000;
    ages.note(root, true);
    ages.note('other' as Cid, true);
    expect(ages.knownForMs({ root })).toBeUndefined();
    expect(ages.createdAtMs({ root, createdAtMs: WALL_MS + 5000 })).toBe(WALL_MS + 5000);
  });
});
