import { setImmediate, setTimeout as wait } from 'node:timers/promises';
import { describe, expect, it } from '@jest/globals';
import { Gather } from '../src/shares/gather.ts';

const LIMITS = {
  itemsMax: 4,
  sizeMaxBytes: 100,
  sizeOf: (item: number) => item,
  waitMaxMs: 60_000,
  batchesMax: 2,
};

/** A gather whose batches a test answers itself. */
function gatherOf(limits: Partial<typeof LIMITS> = {}) {
  const batches: { readonly items: readonly number[]; answer(): void; fail(error: Error): void }[] =
    [];
  const gather = new Gather<number, number>(
    (items) =>
      new Promise((resolve, reject) => {
        batches.push({ items, answer: () => resolve(items.map((item) => -item)), fail: reject });
      }),
    { ...LIMITS, ...limits },
  );
  return { gather, sizes: () => batches.map(({ items }) => items.length), batches };
}

/** Turns of the event loop, not time: on a busy machine a timer may come before the turn that it waited for. */
async function nextTurn(): Promise<void> {
  await wait(5);
  for (let turn = 0; turn < 10; turn += 1) await setImmediate();
}

describe('a gather', () => {
  it('sends what is asked for in one turn as one batch, at once, and answers each', async () => {
    const { gather, batches } = gatherOf();
    const answers = Promise.all([1, 2, 3].map((item) => gather.add(item)));
    await nextTurn();
    expect(batches.map(({ items }) => items)).toEqual([[1, 2, 3]]);
    batches[0]?.answer();
    expect(await answers).toEqual([-1, -2, -3]);
  });

  it('lets what comes meanwhile wait for the end of the batch that is under way', async () => {
    const { gather, batches, sizes } = gatherOf();
    const slow = gather.add(0);
    await wait(1000); // so that half of it is longer than what comes
    batches[0]?.answer();
    await slow;
    const first = gather.add(1);
    await nextTurn();
    const others = Promise.all([gather.add(2), gather.add(3)]);
    await nextTurn();
    expect(sizes()).toEqual([1, 1]);
    batches[1]?.answer();
    await first;
    await nextTurn();
    expect(sizes()).toEqual([1, 1, 2]);
    batches[2]?.answer();
    expect(await others).toEqual([-2, -3]);
  });

  it('waits no longer than it was told, and keeps to its bounds', async () => {
    const { gather, sizes } = gatherOf({ waitMaxMs: 20 });
    void gather.add(1);
    await nextTurn();
    void gather.add(2);
    await wait(100);
    expect(sizes()).toEqual([1, 1]); // the second did not wait for the first
    for (const item of [1, 2, 3, 4, 5]) void gather.add(item);
    await wait(100);
    expect(sizes()).toEqual([1, 1]); // no more than two under way
  });

  it('cuts a batch by number and by size', async () => {
    const { gather, batches, sizes } = gatherOf();
    for (const item of [60, 30, 20, 1, 1, 1, 1]) void gather.add(item);
    await nextTurn();
    expect(sizes()).toEqual([2, 4]);
    batches[0]?.answer();
    await nextTurn();
    expect(sizes()).toEqual([2, 4, 1]);
  });

  it('fails all of a batch that fails, and no other', async () => {
    const { gather, batches } = gatherOf();
    const some = Promise.allSettled([gather.add(1), gather.add(2)]);
    await nextTurn();
    batches[0]?.fail(new Error('away'));
    expect((await some).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    const later = gather.add(3);
    await nextTurn();
    batches[1]?.answer();
    expect(await later).toBe(-3);
  });
});
