import { describe, expect, it } from '@jest/globals';
import type { Lease } from '@shoal/protocol';
import fc from 'fast-check';
import type { Digest } from '../src/disk/block-record.ts';
import { createCommitQueue, type Exclusive } from '../src/index/commit-queue.ts';
import { Leases } from '../src/store/state/leases.ts';

const A = '00000000-0000-4000-8000-00000000000a' as Lease;
const B = '00000000-0000-4000-8000-00000000000b' as Lease;
const X = 'aa'.repeat(32) as Digest;
const mine = { isProvisional: true, nowMs: 0 };

const limits = { itemsMax: 1, sizeMaxBytes: 1, sizeOf: () => 1 };
const queue = createCommitQueue<never, never>(async () => [], limits);
/** The right to change leases, of a task that does not end. */
const exclusive = await new Promise<Exclusive>((resolve) => {
  void queue.alone((granted) => {
    resolve(granted);
    return new Promise(() => {});
  });
});

describe('leases', () => {
  it('give a block up with the last lease that held it', () => {
    const leases = new Leases([], { nowMs: 0 });
    leases.hold(exclusive, A, X, mine);
    leases.hold(exclusive, B, X, { ...mine, isProvisional: false });
    expect(leases.giveUp(exclusive, A)).toEqual([]);
    expect(leases.isHeld(X)).toBe(true);
    expect(leases.giveUp(exclusive, B)).toEqual([X]);
    expect(leases.isHeld(X)).toBe(false);
  });

  it('keep a block that one upload completed, when another that held it fails', () => {
    const leases = new Leases([], { nowMs: 0 });
    leases.hold(exclusive, A, X, mine);
    leases.hold(exclusive, B, X, mine);
    expect(leases.complete(exclusive, B)).toEqual([X]);
    expect(leases.giveUp(exclusive, A)).toEqual([]);
  });

  it('keep a block that something other than leases speaks for', () => {
    const leases = new Leases([], { nowMs: 0 });
    leases.hold(exclusive, A, X, mine);
    leases.makePermanent(exclusive, X);
    expect(leases.giveUp(exclusive, A)).toEqual([]);
    expect(leases.isGivenUp(A)).toBe(true);
  });

  it('are restored as the only ones that speak for their blocks', () => {
    const leases = new Leases([[X, A]], { nowMs: 5 });
    expect([leases.isProvisional(X), leases.count, leases.idleSince(5)]).toEqual([true, 1, []]);
    expect(leases.giveUp(exclusive, A)).toEqual([X]);
    expect(leases.count).toBe(0);
  });

  it('list the idle ones', () => {
    const leases = new Leases([], { nowMs: 0 });
    leases.hold(exclusive, A, X, { ...mine, nowMs: 10 });
    leases.hold(exclusive, B, X, { ...mine, nowMs: 20 });
    expect(leases.idleSince(15)).toEqual([A]);
  });

  it('never give up a block twice, nor one that was made permanent, in any order of events', () => {
    const lease = fc.constantFrom(A, B);
    const digest = fc.constantFrom(...['aa', 'bb', 'cc'].map((b) => b.repeat(32) as Digest));
    const event = fc.tuple(
      fc.constantFrom('hold', 'makePermanent', 'giveUp', 'complete'),
      lease,
      digest,
    );
    fc.assert(
      fc.property(fc.array(event, { maxLength: 40 }), (events) => {
        const leases = new Leases([], { nowMs: 0 });
        const safe = new Set<Digest>();
        const gone = new Set<Digest>();
        const held = new Map<Lease, Set<Digest>>([
          [A, new Set()],
          [B, new Set()],
        ]);
        for (const [kind, by, block] of events) {
          const mineNow = held.get(by) ?? new Set();
          if (kind === 'hold') {
            leases.hold(exclusive, by, block, { isProvisional: !safe.has(block), nowMs: 0 });
            mineNow.add(block);
            gone.delete(block);
          } else if (kind === 'makePermanent') {
            leases.makePermanent(exclusive, block);
            if (leases.isHeld(block)) safe.add(block);
          } else if (kind === 'complete') {
            for (const done of mineNow) safe.add(done);
            leases.complete(exclusive, by);
            mineNow.clear();
          } else {
            for (const orphan of leases.giveUp(exclusive, by)) {
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
