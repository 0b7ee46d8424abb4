import { describe, expect, it } from '@jest/globals';
import { seededBytes, seededStream, sha256Of } from '../src/seeded-bytes.ts';

describe('seededBytes', () => {
  it('gives the same bytes for a seed, in memory and as a stream of any piece size', async () => {
    const expected = await sha256Of(seededBytes('a', 1_000_003));
    expect(await sha256Of(seededStream('a', 1_000_003))).toBe(expected);
    expect(await sha256Of(seededStream('a', 1_000_003, 999))).toBe(expected);
    expect(await sha256Of(seededBytes('b', 1_000_003))).not.toBe(expected);
  });
});
