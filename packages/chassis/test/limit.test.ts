import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { createLimit } from '../src/shares/limit.ts';

describe('createLimit', () => {
  it('runs every task, never more than allowed at once, also when some fail', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 4 }),
        fc.array(fc.boolean(), { maxLength: 20 }),
        fc.scheduler(),
        async (max, tasks, scheduler) => {
          const limit = createLimit(max);
          let running = 0;
          let most = 0;
          const all = Promise.allSettled(
            tasks.map((fails) =>
              limit(async () => {
                most = Math.max(most, (running += 1));
                await scheduler.schedule(Promise.resolve());
                running -= 1;
                if (fails) throw new Error('task failed');
              }),
            ),
          );
          await scheduler.waitFor(all);
          const results = await all;
          expect(most).toBeLessThanOrEqual(max);
          expect(results.filter(({ status }) => status === 'rejected')).toHaveLength(
            tasks.filter(Boolean).length,
          );
        },
      ),
      { seed: 20261122, numRuns: 100 },
    );
  });
});
