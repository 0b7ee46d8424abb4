import { createHash } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { ROTA, turnOf } from './chaos/rota.ts';
import { SCENARIOS } from './chaos/scenarios/index.ts';

const commits = Array.from({ length: 4000 }, (_, index) =>
  createHash('sha1').update(String(index)).digest('hex'),
);

describe('the rota of chaos', () => {
  it('has every scenario once, but for those that are by hand', () => {
    const played = SCENARIOS.filter(({ isByHand }) => isByHand !== true);
    expect(ROTA.flat().toSorted()).toEqual(played.map(({ id }) => id).toSorted());
  });

  it('gives a commit the same turn and seed each time, and commits different seeds', () => {
    const [first = '', second = ''] = commits;
    expect(turnOf(first)).toEqual(turnOf(first));
    expect(turnOf(first).seed).not.toBe(turnOf(second).seed);
  });

  it('plays each group in one of four commits', () => {
    const counts = ROTA.map((_, index) => commits.filter((each) => turnOf(each).index === index));
    for (const { length } of counts) {
      expect(length).toBeGreaterThan(commits.length * 0.22);
      expect(length).toBeLessThan(commits.length * 0.28);
    }
  });
});
