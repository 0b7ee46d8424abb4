import { describe, expect, it } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { supervise } from '../../src/launch/child/supervise.ts';

describe('a supervised process', () => {
  it('that can not be started is tried again, and ends nobody', async () => {
    const said: string[] = [];
    await using child = supervise(
      {
        name: 'storage',
        start: () => {
          throw new Error('no memory for a process');
        },
      },
      { mayRestart: () => true, say: (line) => said.push(line), stopTimeoutMs: 100 },
    );
    const deadlineMs = performance.now() + 20_000;
    while (child.crashes < 3 && performance.now() < deadlineMs) await sleep(10);
    expect(child.crashes).toBeGreaterThanOrEqual(3);
    expect(said[0]).toBe(
      "storage ended (can't start: no memory for a process); it is started again",
    );
  });
});
