import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { Digest } from '../src/disk/block-record.ts';
import { ScrubRound } from '../src/upkeep/scrub-round.ts';

const digestOf = (n: number) => n.toString(16).padStart(64, '0') as Digest;

/** Goes over the digests as the scrub does; gives what it visited, in order, and where the cursor is then. */
function goRound(round: ScrubRound, all: readonly Digest[], cursor: Digest | undefined) {
  const visited: Digest[] = [];
  let at = cursor;
  for (let rows = 0; rows < 2 * all.length + 2; rows += 1) {
    const next = all.find((digest) => at === undefined || digest > at);
    if (next === undefined) {
      at = undefined;
      if (round.endLeg()) return { visited, cursor: at };
      continue;
    }
    if (round.isOverBefore(next)) return { visited, cursor: at };
    visited.push(next);
    at = next;
  }
  throw new Error('the round does not end');
}

describe('a round of the scrub', () => {
  it('visits every digest once, wherever it begins, and the next one does again', () => {
    const digests = fc.uniqueArray(fc.integer({ min: 1, max: 50 }), { maxLength: 20 });
    fc.assert(
      fc.property(digests, fc.option(fc.integer({ min: 0, max: 51 })), (numbers, begin) => {
        const all = numbers.toSorted((a, b) => a - b).map(digestOf);
        let cursor = begin === null ? undefined : digestOf(begin);
        for (let turn = 0; turn < 3; turn += 1) {
          const round = new ScrubRound('due', { cursor, nowMs: 0 });
          const gone = goRound(round, all, cursor);
          expect(gone.visited.toSorted()).toEqual(all);
          cursor = gone.cursor;
        }
      }),
      { seed: 5, numRuns: 300 },
    );
  });

  it('is whole unless it passed a block over, and counts no block that was deleted meanwhile', () => {
    const round = new ScrubRound('due', { cursor: undefined, nowMs: 7 });
    expect([round.hasNews, round.isWhole]).toEqual([false, true]);
    round.note('absent', 10);
    expect(round.hasNews).toBe(false);
    round.note('sound', 10);
    round.note('corrupt', 5);
    expect([round.hasNews, round.isWhole]).toEqual([true, true]);
    round.passOver();
    expect(round.isWhole).toBe(false);
    expect(round.report).toEqual({
      startedAtMs: 7,
      checkedBlocks: 2,
      checkedBytes: 15,
      damagedBlocks: 1,
    });
  });

  it('has something to say from the start when it was asked for', () => {
    expect(new ScrubRound('whole', { cursor: undefined, nowMs: 0 }).hasNews).toBe(true);
  });
});
