import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { type DagEntry, hashBlock, reassemble, type Slice, slicesOf } from '../src/index.ts';

const signal = AbortSignal.timeout(60_000);

function fileOf(sizes: readonly number[]) {
  const file = Buffer.concat(sizes.map((size, index) => Buffer.alloc(size, index + 1)));
  let offset = 0;
  const entries = sizes.map((sizeBytes): DagEntry => {
    const bytes = file.subarray(offset, offset + sizeBytes);
    const entry = { cid: hashBlock('raw', bytes), kind: 'leaf', sizeBytes, offset } as const;
    offset += sizeBytes;
    return entry;
  });
  return { file, entries };
}

describe('reassemble', () => {
  it('gives any range of a file, from blocks that come in any order, within its window', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 20 }),
        fc.nat(),
        fc.nat(),
        fc.nat({ max: 6 }),
        fc.scheduler(),
        async (sizes, a, b, windowBlocks, scheduler) => {
          const { file, entries } = fileOf(sizes);
          const [start, end] = [a % file.length, b % file.length].toSorted((x, y) => x - y) as [
            number,
            number,
          ];
          let inFlight = 0;
          let inFlightMax = 0;
          const fetchBlock = async ({ entry }: Slice) => {
            inFlightMax = Math.max(inFlightMax, (inFlight += 1));
            await scheduler.schedule(Promise.resolve());
            inFlight -= 1;
            return file.subarray(entry.offset, entry.offset + entry.sizeBytes);
          };
          const parts: Uint8Array[] = [];
          const reading = (async () => {
            const stream = reassemble(
              slicesOf(entries, { start, end }),
              { windowBlocks: () => windowBlocks, fetchBlock, discard: () => {} },
              { signal },
            );
            for await (const { slice, block } of stream)
              parts.push(block.subarray(slice.from, slice.to));
          })();
          await scheduler.waitFor(reading);
          expect(Buffer.concat(parts)).toEqual(file.subarray(start, end + 1));
          expect(inFlightMax).toBeLessThanOrEqual(Math.max(1, windowBlocks));
        },
      ),
      { seed: 20261122, numRuns: 100 },
    );
  });

  it('asks for nothing ahead of its reader when its window is 0, also of a list that is still told', async () => {
    const { entries } = fileOf([4, 4, 4]);
    const asked: number[] = [];
    async function* told() {
      yield* slicesOf(entries, { start: 0, end: 11 });
    }
    const stream = reassemble(
      told(),
      {
        windowBlocks: () => 0,
        fetchBlock: async ({ index = 0 }: Slice) => void asked.push(index),
        discard: () => {},
      },
      { signal },
    );
    for (const index of [0, 1, 2]) {
      expect(asked).toHaveLength(index);
      expect((await stream.next()).done).toBe(false);
      await new Promise((resolve) => setImmediate(resolve)); // whatever runs ahead has run
    }
    expect((await stream.next()).done).toBe(true);
    expect(asked).toEqual([0, 1, 2]);
  });

  it('ends with the error of the first block that can’t be had, after the right bytes before it', async () => {
    const { file, entries } = fileOf([4, 4, 4, 4]);
    const fetchBlock = async ({ index = 0, entry }: Slice) => {
      if (index >= 2) throw new Error(`block ${index} is gone`);
      return file.subarray(entry.offset, entry.offset + 4);
    };
    const got: Uint8Array[] = [];
    const discarded: Uint8Array[] = [];
    const stream = reassemble(
      slicesOf(entries, { start: 0, end: 15 }),
      { windowBlocks: () => 4, fetchBlock, discard: (block) => discarded.push(block) },
      { signal },
    );
    await expect(async () => {
      for await (const { block } of stream) got.push(block);
    }).rejects.toThrow('block 2 is gone');
    expect(Buffer.concat(got)).toEqual(file.subarray(0, 8));
  });

  it('stops asking, and hands back what it had, when the reader leaves', async () => {
    const { entries } = fileOf([1, 1, 1, 1, 1, 1]);
    const signals: AbortSignal[] = [];
    const discarded: number[] = [];
    const fetchBlock = async ({ index = 0 }: Slice, options: { signal: AbortSignal }) => {
      signals.push(options.signal);
      return index;
    };
    for await (const { block } of reassemble(
      slicesOf(entries, { start: 0, end: 5 }),
      { windowBlocks: () => 3, fetchBlock, discard: (block) => discarded.push(block) },
      { signal },
    ))
      if (block === 0) break;
    await Promise.resolve();
    expect(signals.length).toBeLessThanOrEqual(4);
    expect(signals.every(({ aborted }) => aborted)).toBe(true);
    expect(discarded).toEqual([1, 2, 3]);
  });

  it('takes slices that are told one by one, and what was told counts before what failed', async () => {
    const { file, entries } = fileOf([3, 3, 3]);
    async function* told() {
      for (const slice of slicesOf(entries, { start: 0, end: 8 })) {
        await Promise.resolve();
        yield slice;
      }
      throw new Error('the walk failed');
    }
    const got: Uint8Array[] = [];
    const stream = reassemble(
      told(),
      {
        windowBlocks: () => 2,
        fetchBlock: async ({ entry }) => file.subarray(entry.offset, entry.offset + 3),
        discard: () => {},
      },
      { signal },
    );
    await expect(async () => {
      for await (const { block } of stream) got.push(block);
    }).rejects.toThrow('the walk failed');
    expect(Buffer.concat(got)).toEqual(file);
  });

  it('reads on in a walk only as far as its window, and ends it with its reader', async () => {
    let told = 0;
    let isEnded = false;
    async function* walk() {
      try {
        for (;;) yield (told += 1);
      } finally {
        isEnded = true;
      }
    }
    const stream = reassemble(
      walk(),
      { windowBlocks: () => 3, fetchBlock: async (slice) => slice, discard: () => {} },
      { signal },
    );
    for await (const { block } of stream) if (block === 5) break;
    await new Promise(setImmediate);
    expect(told).toBeLessThanOrEqual(5 + 3);
    expect(isEnded).toBe(true);
  });
});
