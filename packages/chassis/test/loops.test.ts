import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from '@jest/globals';
import { LoopReport, LOOPS_MAX, StorageFull } from '@shoal/protocol';
import { Registry } from 'prom-client';
import {
  createLoopMetrics,
  createLoops,
  type Loops,
  type LoopTask,
  pauseOnGrid,
} from '../src/process/loops.ts';

let stack = new DisposableStack();
afterEach(() => {
  stack.dispose();
  stack = new DisposableStack();
});

/** Clocks that go on only when they are told to, and a service's list. */
function stand() {
  const registry = new Registry();
  const warnings: object[] = [];
  const clock = { nowMs: 1_000_000, uptimeMs: 0 };
  const loops = createLoops({
    metrics: createLoopMetrics('storage', registry),
    log: { warn: (fields: object) => void warnings.push(fields) } as Parameters<
      typeof createLoops
    >[0]['log'], // the one form that is used
    nowMs: () => clock.nowMs,
    uptimeMs: () => clock.uptimeMs,
  });
  const pass = (ms: number) => {
    clock.nowMs += ms;
    clock.uptimeMs += ms;
  };
  const start = (task: Partial<LoopTask>) =>
    stack.use(loops.start({ name: 'sweep', everyMs: () => 1, run: () => {}, ...task }));
  const read = async (name: string, labels: object) => {
    const metric = await registry.getSingleMetric(`shoal_storage_loop_${name}`)?.get();
    return metric?.values.find(
      (each) => JSON.stringify(each.labels) === JSON.stringify({ loop: 'sweep', ...labels }),
    )?.value;
  };
  return { loops, warnings, pass, start, read };
}

const only = (loops: Loops): LoopReport => {
  const [report] = loops.report();
  if (report === undefined) throw new Error('there is no loop');
  return LoopReport.parse(report);
};

async function until(isSo: () => boolean): Promise<void> {
  const endMs = performance.now() + 5000;
  while (!isSo()) {
    if (performance.now() > endMs) throw new Error('it did not come to that');
    await sleep(1);
  }
}

describe('a loop', () => {
  it('is listed before it ran, with its period and no date', async () => {
    const { loops, start, read } = stand();
    start({ everyMs: () => 60_000 });
    expect(loops.report()).toEqual([{ name: 'sweep', everyMs: 60_000, isRunning: false, runs: 0 }]);
    expect(await read('period_seconds', {})).toBe(60);
    expect(await read('last_run_timestamp_seconds', {})).toBe(1000);
    expect(await read('runs_total', { outcome: 'failed' })).toBe(0);
  });

  it('says when its last run began and how long it took', async () => {
    const { loops, start, read, pass } = stand();
    pass(5000);
    start({ run: () => void (only(loops).runs === 0 && pass(250)) });
    await until(() => only(loops).runs >= 1);
    expect(only(loops).lastRunAtMs).toBeGreaterThanOrEqual(1_005_000);
    expect(await read('runs_total', { outcome: 'done' })).toBeGreaterThanOrEqual(1);
    expect(await read('last_run_timestamp_seconds', {})).toBe(1005.25);
  });

  it('goes on after a failure, which it remembers', async () => {
    const { loops, warnings, start } = stand();
    let calls = 0;
    start({
      run: () => {
        calls += 1;
        if (calls === 1) throw new StorageFull({ limit: 'disk space', freeBytes: 0 });
      },
    });
    await until(() => only(loops).runs >= 3);
    const { lastError } = only(loops);
    expect(lastError?.atMs).toBe(1_000_000);
    expect(lastError?.what).toContain('disk space');
    expect(warnings).toEqual([{ err: expect.any(StorageFull), loop: 'sweep' }]);
  });

  it('names of an error that is no problem only the kind: its message may be of paths', async () => {
    const { loops, start } = stand();
    const error = Object.assign(new Error('/home/somebody: no room'), { code: 'ENOSPC' });
    start({ run: () => Promise.reject(error), onFailure: () => {} });
    await until(() => only(loops).runs >= 1);
    expect(only(loops).lastError?.what).toBe('Error ENOSPC');
  });

  it('never overlaps itself', async () => {
    const { loops, start } = stand();
    let running = 0;
    let most = 0;
    start({
      everyMs: () => 0,
      run: async () => {
        running += 1;
        most = Math.max(most, running);
        await sleep(3);
        running -= 1;
      },
    });
    await until(() => only(loops).runs >= 3);
    expect(most).toBe(1);
  });

  it('takes its period anew after each run', async () => {
    const { loops, start } = stand();
    const periods = [1, 2, 60_000];
    start({ everyMs: () => periods.shift() ?? 0 });
    await until(() => only(loops).runs === 2);
    expect(only(loops).everyMs).toBe(60_000);
  });

  it('gives a sign of life during a long run', async () => {
    const { loops, start, pass, read } = stand();
    const { promise, resolve } = Promise.withResolvers<void>();
    start({
      run: async ({ beat }) => {
        pass(90_000);
        beat();
        await promise;
      },
    });
    await until(() => only(loops).isRunning);
    expect(await read('last_run_timestamp_seconds', {})).toBe(1090);
    expect(only(loops).runs).toBe(0);
    resolve();
    await until(() => only(loops).runs >= 1);
  });

  it('is cut short by its end, which is no failure, and leaves the list', async () => {
    const { loops, start, warnings, read } = stand();
    let isCut = false;
    const loop = start({
      run: async ({ signal }) => {
        await sleep(60_000, undefined, { signal }).catch(() => {});
        isCut = true;
        signal.throwIfAborted();
      },
    });
    await until(() => only(loops).isRunning);
    await loop[Symbol.asyncDispose]();
    expect(isCut).toBe(true);
    expect(warnings).toEqual([]);
    expect(loops.report()).toEqual([]);
    expect(await read('runs_total', { outcome: 'failed' })).toBe(0);
  });

  it('does not run any more once it is disposed', async () => {
    const { start } = stand();
    let calls = 0;
    start({ run: () => void (calls += 1) })[Symbol.dispose]();
    await sleep(10);
    expect(calls).toBe(0);
  });
});

describe('a tracked loop', () => {
  it('is listed with its present period, and without one while it only waits', async () => {
    const { loops, read } = stand();
    let everyMs: number | undefined = 500;
    const tracked = loops.track('sweep', () => everyMs);
    expect(only(loops).everyMs).toBe(500);
    expect(await read('period_seconds', {})).toBe(0.5);
    everyMs = undefined;
    expect(await tracked.run(async () => 7)).toBe(7);
    expect(only(loops).everyMs).toBeUndefined();
    expect(await read('period_seconds', {})).toBeUndefined();
    expect(only(loops)).toMatchObject({ runs: 1, lastRunAtMs: 1_000_000 });
  });

  it('throws on what its turn throws, and notes it', async () => {
    const { loops } = stand();
    const tracked = loops.track('sweep', () => 500);
    await expect(tracked.run(() => Promise.reject(new TypeError('x')))).rejects.toThrow('x');
    expect(only(loops)).toMatchObject({ runs: 1, lastError: { what: 'TypeError' } });
  });
});

describe('the list', () => {
  it('takes a name once', () => {
    const { loops, start } = stand();
    start({});
    expect(() => start({})).toThrow('there are two loops sweep');
    expect(() => loops.track('No name', () => 1)).toThrow('is no name of a loop');
  });

  it('has a bound', () => {
    const { loops } = stand();
    const nameOf = (index: number) => `loop-${'a'.repeat(index + 1)}`;
    for (let index = 0; index < LOOPS_MAX; index += 1) loops.track(nameOf(index), () => 1);
    expect(() => loops.track('one-more', () => 1)).toThrow('more loops than a report takes');
  });
});

describe('the pause of a loop', () => {
  it('ends on a full second of its process, when that is within a tenth of it', () => {
    const at = (pauseMs: number, nowMs: number, isFirst = false) =>
      nowMs + pauseOnGrid(pauseMs, { nowMs, isFirst });
    expect(at(1000, 5003)).toBe(6000); // a turn that took 3 ms
    expect(at(1000, 5400)).toBe(6400);
    expect(at(30_000, 5400)).toBe(35_000);
    expect(at(1000, 5400, true)).toBe(7000);
    expect(at(200, 5400, true)).toBe(5600);
    expect(at(1500, 5000)).toBe(6500);
  });
});
