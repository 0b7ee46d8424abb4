import { afterEach, beforeEach, expect, it, jest } from '@jest/globals';
import { Deadline } from '../src/process/deadline.ts';

beforeEach(() => void jest.useFakeTimers());
afterEach(() => void jest.useRealTimers());

it('fires when its time is over, with the error of a time-out', () => {
  using deadline = new Deadline(1000);
  jest.advanceTimersByTime(999);
  expect(deadline.signal.aborted).toBe(false);
  jest.advanceTimersByTime(1);
  expect(deadline.signal.reason).toMatchObject({ name: 'TimeoutError' });
});

it('fires with the signal that it was given, for its reason, at once when that fired before', () => {
  const stop = new AbortController();
  using deadline = new Deadline(1000, stop.signal);
  stop.abort(new Error('stopping'));
  using later = new Deadline(1000, stop.signal);
  for (const { signal } of [deadline, later]) expect(signal.reason).toEqual(new Error('stopping'));
});

it('leaves no timer and no listener behind', () => {
  const stop = new AbortController();
  const deadline = new Deadline(1000, stop.signal);
  deadline[Symbol.dispose]();
  expect(jest.getTimerCount()).toBe(0);
  stop.abort(new Error('stopping'));
  expect(deadline.signal.aborted).toBe(false);
});
