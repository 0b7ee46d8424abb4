import { describe, expect, it } from '@jest/globals';
import type { Lease } from '@shoal/protocol';
import fc from 'fast-check';
import type { Digest } from '../src/disk/block-record.ts';
import { createLeases } from '../src/store/leases.ts';

const A = '00000000-0000-4000-8000-00000000000a' as Lease;
const B = '00000000-0000-4000-8000-00000000000b' as Lease;
const X = 'aa'.repeat(32) as Digest;
const mine = { isProvisional: true, nowMs: 0 };

describe('leases', () => {
  it('give a block up with the last lease that held it', () => {
    const leases = createLeases();
    leases.hold(A, X, mine);
    leases.hold(B, X, { ...mine, isProvisional: false });
    expect(leases.giveUp(A)).toEqual([]);
    expect(leases.isHeld(X)).toBe(true);
    expect(leases.giveUp(B)).toEqual([X]);
    expect(leases.isHeld(X)).toBe(false);
  });

  it('keep a block that one upload completed, when another that held it fails', () => {
    const leases = createLeases();
    leases.hold(A, X, mine);
    leases.hold(B, X, mine);
    expect(leases.complete(B)).toEqual([X]);
    expect(leases.giveUp(A)).toEqual([]);
  });

  it('keep a block that something other than leases speaks for', () => {
    const leases = createLeases();
    leases.hold(A, X, mine);
    leases.settle(X);
    expect(leases.giveUp(A)).toEqual([]);
    expect(leases.isEnded(A)).toBe(true);
  });

  it('list the idle ones', () => {
    const leases = createLeases();
    leases.hold(A, X, { ...mine, nowMs: 10 });
    leases.hold(B, X, { ...mine, nowMs: 20 });
    expect(leases.idleSince(15)).toEqual([A]);
  });

  it('never give up a block twice, nor one that was settled, in any order of events', () => {
    const lease = fc.constantFrom(A, B);
    const digest = fc.constantFrom(...['aa', 'bb', 'cc'].map((b) => b.repeat(32) as Digest));
    const event = fc.tuple(fc.constantFrom('hold', 'settle', 'giveUp', 'complete'), lease, digest);
    fc.assert(
      fc.property(fc.array(event, { maxLength: 40 }), (events) => {
        const leases = createLeases();
        const safe = new Set<Digest>();
        const gone = new Set<Digest>();
        const held = new Map<Lease, Set<Digest>>([
          [A, new Set()],
          [B, new Set()],
        ]);
        for (const [kind, by, block] of events) {
          const mineNow = held.get(by) ?? new Set();
          if (kind === 'hold') {
            leases.hold(by, block, { isProvisional: !safe.has(block), nowMs: 0 });
            mineNow.add(block);
            gone.delete(block);
          } else if (kind === 'settle') {
            leases.settle(block);
            if (leases.isHeld(block)) safe.add(block);
          } else if (kind === 'complete') {
            for (const done of mineNow) safe.add(done);
            leases.complete(by);
            mineNow.clear();
          } else {
            for (const orphan of leases.giveUp(by)) {
              if (safe.has(orphan) || gone.has(orphan)) return false;
              gone.add(orphan);
            }
            mineNow.clear();
          }
        }
        return true;
      }),
      { seed: 7, numRuns: 500 },
    );
  });
});
