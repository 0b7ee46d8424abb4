import { describe, expect, it } from '@jest/globals';
import { createLog } from '@shoal/chassis';
import type { PeerId } from '@shoal/protocol';
import { createMetrics } from '../../src/metrics.ts';
import { Budget, RATES, type Spending } from '../../src/network/budget.ts';

const [A, B] = ['a', 'b'] as [PeerId, PeerId];
const KINDS = Object.keys(RATES) as Spending[];

function open() {
  let nowMs = 0;
  const metrics = createMetrics();
  const clock = () => nowMs;
  const budget = new Budget({ clock, metrics, log: createLog('discovery', 'silent') });
  const putAside = async (kind: Spending): Promise<number> => {
    const { values } = await metrics.putAside.get();
    return values.find(({ labels }) => labels.kind === kind)?.value ?? 0;
  };
  return { budget, putAside, pass: (ms: number) => void (nowMs += ms) };
}

describe('what one member may have another do', () => {
  it.each(KINDS)('of %s is a burst at once, and then so much in a second', async (kind) => {
    const { budget, putAside, pass } = open();
    const [rate, burstS] = RATES[kind];
    budget.spend(A, kind, rate * burstS);
    expect(budget.waitMs(A)).toBe(0);
    budget.spend(A, kind, rate);
    expect(budget.waitMs(A)).toBe(1000);
    expect(budget.waitMs(B)).toBe(0);
    expect(await putAside(kind)).toBe(1);
    pass(1000);
    expect(budget.waitMs(A)).toBe(0);
    for (let second = 0; second < 100; second += 1) {
      pass(1000);
      expect(budget.waitMs(A)).toBe(0);
      budget.spend(A, kind, rate);
    }
    expect(await putAside(kind)).toBe(1);
  });

  it('is enough for an upload of many small files, a storm of joins, and pins after a cut', () => {
    const { budget, pass } = open();
    // 1,200 files a second, ten messages of pins and of holdings, one question for each file.
    for (let second = 0; second < 60; second += 1) {
      budget.spend(A, 'pins', 1200);
      budget.spend(A, 'roots', 3 * 1200);
      budget.spend(A, 'messages', 1220);
      budget.spend(A, 'bytes', 1200 * 2000);
      pass(1000);
      expect(budget.waitMs(A)).toBe(0);
    }
    // Thirty that join at once, each of which meets all by way of this one.
    for (let joined = 0; joined < 30; joined += 1) {
      const signed = { payload: '{}', signature: '' };
      const records = Array.from({ length: 30 }, () => ({ signed, ageMs: 0 }));
      budget.charge(A, { kind: 'exchange', records });
      budget.spend(A, 'records', 9 * 30);
    }
    expect(budget.waitMs(A)).toBe(0);
    // All buckets differ: 256 pages, one after the other.
    for (let bucket = 0; bucket < 256; bucket += 1)
      budget.charge(A, { kind: 'pin-stamps', bucket, after: '' });
    expect(budget.waitMs(A)).toBe(0);
  });
});
