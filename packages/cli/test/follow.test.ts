import { describe, expect, it } from '@jest/globals';
import { CommandFailure } from '../src/failure.ts';
import { follow } from '../src/terminal/follow.ts';

const never = new AbortController().signal;

describe('follow', () => {
  it('asks until it is over, tells each answer, and forgives a peer that is away for a while', async () => {
    const answers = [1, 'away', 2, 'away', 3];
    const told: number[] = [];
    const last = await follow(
      async () => {
        const answer = answers.shift();
        if (typeof answer !== 'number') throw new CommandFailure('away');
        return answer;
      },
      { isOver: (answer) => answer === 3, onAnswer: (answer) => told.push(answer), everyMs: 0 },
      { signal: never },
    );
    expect({ last, told }).toEqual({ last: 3, told: [1, 2, 3] });
  });

  it('gives up a peer that stays away', async () => {
    let asked = 0;
    const watching = follow(
      () => {
        asked += 1;
        return Promise.reject(new CommandFailure('away'));
      },
      { isOver: () => true, onAnswer: () => undefined, everyMs: 0 },
      { signal: never },
    );
    await expect(watching).rejects.toThrow('away');
    expect(asked).toBeGreaterThan(5);
  });

  it('throws at once what is a fault of the program', async () => {
    const watching = follow(
      () => Promise.reject(new TypeError('bug')),
      { isOver: () => true, onAnswer: () => undefined, everyMs: 0 },
      { signal: never },
    );
    await expect(watching).rejects.toThrow('bug');
  });

  it('ends between two questions when it is told to', async () => {
    const stop = new AbortController();
    const watching = follow(
      async () => 0,
      { isOver: () => false, onAnswer: () => stop.abort(new Error('enough')), everyMs: 60_000 },
      { signal: stop.signal },
    );
    await expect(watching).rejects.toThrow('enough');
  });
});
