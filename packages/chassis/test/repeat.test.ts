import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { repeat } from '../src/index.ts';

beforeEach(() => void jest.useFakeTimers());
afterEach(() => void jest.useRealTimers());

const unexpected = (error: unknown) => {
  throw error;
};

describe('repeat', () => {
  it('waits for the end of a run before it counts the delay to the next', async () => {
    let runs = 0;
    let end = () => {};
    using _ = repeat(
      () => {
        runs += 1;
        return new Promise<void>((resolve) => (end = resolve));
      },
      () => 100,
      unexpected,
    );
    expect(runs).toBe(0);
    await jest.advanceTimersByTimeAsync(500);
    expect(runs).toBe(1);
    end();
    await jest.advanceTimersByTimeAsync(99);
    expect(runs).toBe(1);
    await jest.advanceTimersByTimeAsync(1);
    expect(runs).toBe(2);
  });

  it('reports a failure, a synchronous one too, and goes on', async () => {
    const failures: unknown[] = [];
    const tasks = [
      () => {
        throw new Error('thrown');
      },
      () => Promise.reject(new Error('rejected')),
    ];
    using _ = repeat(
      () => tasks.shift()?.(),
      () => 10,
      (error) => failures.push(error),
    );
    await jest.advanceTimersByTimeAsync(100);
    expect(failures).toEqual([new Error('thrown'), new Error('rejected')]);
    expect(tasks).toEqual([]);
  });

  it('runs no more once it is disposed, even in the middle of a run', async () => {
    let runs = 0;
    let end = () => {};
    const repeating = repeat(
      () => {
        runs += 1;
        return new Promise<void>((resolve) => (end = resolve));
      },
      () => 10,
      unexpected,
    );
    await jest.advanceTimersByTimeAsync(10);
    repeating[Symbol.dispose]();
    end();
    await jest.advanceTimersByTimeAsync(100);
    expect([runs, jest.getTimerCount()]).toEqual([1, 0]);
  });
});
