import { describe, expect, it } from '@jest/globals';
import { ReleasedLeases } from '../../src/copies/end-leases.ts';

const leaseOf = (index: number) => `00000000-0000-4000-8000-${String(index).padStart(12, '0')}`;

describe('released leases', () => {
  it('remember how each ended, and forget the oldest', () => {
    const released = new ReleasedLeases();
    expect(released.wasCompleted(leaseOf(0))).toBeUndefined();
    released.note(leaseOf(0), true);
    released.note(leaseOf(1), false);
    expect(released.wasCompleted(leaseOf(0))).toBe(true);
    expect(released.wasCompleted(leaseOf(1))).toBe(false);
    for (let index = 2; index < 4097; index += 1) released.note(leaseOf(index), true);
    expect(released.wasCompleted(leaseOf(0))).toBeUndefined();
    expect(released.wasCompleted(leaseOf(1))).toBe(false);
  });
});
