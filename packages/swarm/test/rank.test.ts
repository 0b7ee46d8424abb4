import { describe, expect, it } from '@jest/globals';
import type { PeerId } from '@shoal/protocol';
import fc from 'fast-check';
import { createRanking } from '../src/rank.ts';

const id = (name: string) => name as PeerId; // the ranking treats it as any string
const candidates = ['a', 'b', 'c'].map((name) => ({ peerId: id(name) }));
const names = (list: readonly { peerId: PeerId }[]) => list.map(({ peerId }) => peerId).join('');

describe('ranking', () => {
  it('asks the peer that answers fastest, until it has more to do than the others', () => {
    const ranking = createRanking();
    for (const [name, ms] of [
      ['a', 100],
      ['b', 20],
      ['c', 50],
    ] as const) {
      ranking.started(id(name));
      ranking.ended(id(name), 'verified', ms, 0);
    }
    expect(names(ranking.order(candidates, 1))).toBe('bca');
    for (let i = 0; i < 3; i += 1) ranking.started(id('b'));
    expect(names(ranking.order(candidates, 1))).toBe('cba');
  });

  it('asks a slow peer that said it has the block before a quick one that only may have it', () => {
    const ranking = createRanking();
    ranking.started(id('b'));
    ranking.ended(id('b'), 'verified', 500, 0);
    const unsure = candidates.map(({ peerId }) => ({ peerId, doubt: peerId === 'b' ? 0 : 1 }));
    expect(names(ranking.order(unsure, 1))).toBe('bac');
    for (let i = 0; i < 2; i += 1) {
      ranking.started(id('b'));
      ranking.ended(id('b'), 'failed', 10, 1000);
    }
    expect(names(ranking.order(unsure, 1001))).toBe('acb');
    expect(ranking.standing(id('b'), 1001)).toMatchObject({ tier: 1 });
  });

  it('holds an honest "I don’t have it" against nobody, and learns no speed from it', () => {
    const ranking = createRanking();
    const before = ranking.standing(id('a'), 1);
    for (let i = 0; i < 5; i += 1) {
      ranking.started(id('a'));
      ranking.ended(id('a'), 'absent', 9999, 0);
    }
    expect(ranking.standing(id('a'), 1)).toEqual(before);
  });

  it('puts a peer with two strikes behind the others, for a while', () => {
    const ranking = createRanking();
    for (let i = 0; i < 2; i += 1) {
      ranking.started(id('a'));
      ranking.ended(id('a'), 'failed', 10, 1000);
    }
    expect(names(ranking.order(candidates, 1001))).toBe('bca');
    ranking.started(id('a'));
    ranking.ended(id('a'), 'verified', 1, 1002);
    expect(names(ranking.order(candidates, 1003))).toBe('abc');
  });

  it('gives a peer that came back a new start', () => {
    const ranking = createRanking();
    for (let i = 0; i < 2; i += 1) {
      ranking.started(id('a'));
      ranking.ended(id('a'), 'failed', 10, 1000);
    }
    ranking.forgive(id('a'));
    expect(names(ranking.order(candidates, 1001))).toBe('abc');
  });

  it('puts a liar last, but never leaves it out', () => {
    const ranking = createRanking();
    ranking.started(id('a'));
    ranking.ended(id('a'), 'corrupt', 10, 0);
    expect(ranking.standing(id('a'), 1).tier).toBe(2);
    expect(names(ranking.order(candidates, 60_000))).toBe('bca');
    expect(ranking.standing(id('a'), 11 * 60_000).tier).toBe(0);
  });

  it('does not blame a peer for a request that we cancelled', () => {
    const ranking = createRanking();
    for (let i = 0; i < 5; i += 1) {
      ranking.started(id('a'));
      ranking.ended(id('a'), 'cancelled', 9999, 0);
    }
    expect(names(ranking.order(candidates, 1))).toBe('abc');
  });

  it('hedges after a multiple of what is usual, within bounds', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 60_000 }), { maxLength: 60 }), (durations) => {
        const ranking = createRanking();
        for (const ms of durations) {
          ranking.started(id('a'));
          ranking.ended(id('a'), 'verified', ms, 0);
        }
        expect(ranking.hedgeDelayMs(id('a'))).toBeGreaterThanOrEqual(150);
        expect(ranking.hedgeDelayMs(id('a'))).toBeLessThanOrEqual(1500);
      }),
      { seed: 20261122 },
    );
  });

  it('keeps hedges to a twentieth of the requests', () => {
    const ranking = createRanking();
    let hedges = 0;
    for (let i = 0; i < 10_000; i += 1) {
      ranking.started(id('a'));
      if (ranking.takeHedge()) hedges += 1;
    }
    expect(hedges).toBeLessThanOrEqual(10_000 * 0.05 + 16);
    expect(hedges).toBeGreaterThan(400);
  });
});
