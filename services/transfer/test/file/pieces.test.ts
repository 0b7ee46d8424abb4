import { describe, expect, it } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { fetchAhead } from '../../src/file/pieces.ts';

const { signal } = new AbortController();

describe('fetchAhead', () => {
  it('yields blocks in the order of their slices, and learns from how long each took', async () => {
    const took: number[] = [];
    const flow = { windowBlocks: () => 3, noteTook: (ms: number) => void took.push(ms) };
    const fetch = async (delayMs: number) => {
      await sleep(delayMs);
      return { bytes: Buffer.of(delayMs), release: () => undefined };
    };
    const slices: number[] = [];
    for await (const { slice, block } of fetchAhead([60, 1, 20], fetch, flow, { signal })) {
      expect([...block.bytes]).toEqual([slice]);
      slices.push(slice);
    }
    expect(slices).toEqual([60, 1, 20]);
    expect(took).toHaveLength(3);
    expect(Math.max(...took)).toBeGreaterThan(50);
  });

  it('learns nothing from a block that failed', async () => {
    const took: number[] = [];
    const flow = { windowBlocks: () => 1, noteTook: (ms: number) => void took.push(ms) };
    const fail = () => Promise.reject(new Error('no'));
    await expect(fetchAhead([1], fail, flow, { signal }).next()).rejects.toThrow('no');
    expect(took).toEqual([]);
  });
});
