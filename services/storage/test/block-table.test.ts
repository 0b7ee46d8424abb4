import { AssertionError } from 'node:assert';
import { describe, expect, it } from '@jest/globals';
import type { BlockRecord, Digest } from '../src/disk/block-record.ts';
import type { BlockIndex } from '../src/index/block-index.ts';
import { createBlockTable } from '../src/index/block-table.ts';
import { createCommitQueue } from '../src/index/commit-queue.ts';

const X = 'aa'.repeat(32) as Digest;
const Y = 'bb'.repeat(32) as Digest;
const record: BlockRecord = {
  sizeBytes: 10,
  place: 'lmdb',
  writtenAtMs: 1000,
  checkedAtMs: 1000,
  condemnedAtMs: 0,
  isDamaged: false,
  replicas: 0,
  isNode: false,
  lease: undefined,
};

/** An index in memory, whose next writes may fail. */
function createMemoryIndex() {
  const rows = new Map<Digest, BlockRecord>();
  const fails: Error[] = [];
  let writes = 0;
  const index: BlockIndex = {
    find: (digest) => rows.get(digest),
    readSmall: () => undefined,
    async write({ remove = [], put = [] }) {
      writes += 1;
      const error = fails.shift();
      if (error !== undefined) throw error;
      for (const digest of remove) rows.delete(digest);
      for (const each of put) rows.set(each.digest, each.record);
    },
    scan: () => [...rows],
    all: () => rows,
    async [Symbol.asyncDispose]() {},
  };
  return {
    index,
    rows,
    fails,
    get writes() {
      return writes;
    },
  };
}

function openTable(index: BlockIndex, ballasts = 0) {
  let left = ballasts;
  const ballast = {
    release: async () => left-- > 0,
    restore: async () => {},
  };
  const limits = { itemsMax: 1, sizeMaxBytes: 1, sizeOf: () => 1 };
  const { alone } = createCommitQueue<never, never>(async () => [], limits);
  return { table: createBlockTable(index, ballast, () => {}), alone };
}

describe('the table of blocks', () => {
  it('has the figures of the index, after every change and after a restart', async () => {
    const memory = createMemoryIndex();
    const { table, alone } = openTable(memory.index);
    await alone((exclusive) =>
      table.write(exclusive, {
        put: [
          { digest: X, record },
          { digest: X, record: { ...record, isDamaged: true } }, // the last one counts
          { digest: Y, record: { ...record, condemnedAtMs: 5 } },
        ],
      }),
    );
    const expected = { blocks: 1, usedBytes: 10, damaged: 1, condemned: 1 };
    expect(table.counts).toEqual(expected);
    expect(openTable(memory.index).table.counts).toEqual(expected);
    await alone((exclusive) => table.write(exclusive, { remove: [X, Y] }));
    expect(table.counts).toEqual({ blocks: 0, usedBytes: 0, damaged: 0, condemned: 0 });
  });

  it('writes nothing that would leave a figure below zero: a record changed behind its back', async () => {
    const memory = createMemoryIndex();
    const { table, alone } = openTable(memory.index);
    memory.rows.set(X, record);
    const wrong = alone((exclusive) => table.write(exclusive, { remove: [X] }));
    await expect(wrong).rejects.toThrow(AssertionError);
    expect(memory.writes).toBe(0);
    expect(table.counts.blocks).toBe(0);
  });

  it('leaves its figures alone when a write fails, and frees room once at most', async () => {
    const memory = createMemoryIndex();
    memory.rows.set(X, record);
    const { table, alone } = openTable(memory.index, 1);
    memory.fails.push(new Error('full'), new Error('full'), new Error('full'));
    const remove = () =>
      alone((exclusive) => table.write(exclusive, { remove: [X] }, { isFreeing: true }));
    await expect(remove()).rejects.toThrow('full');
    expect([memory.writes, table.counts.blocks]).toEqual([2, 1]);
    await expect(remove()).rejects.toThrow('full'); // there is no ballast left
    expect([memory.writes, table.counts.blocks]).toEqual([3, 1]);
    await remove();
    expect(table.counts.blocks).toBe(0);
  });

  it('is changed by a task that is alone, and by none that is over', async () => {
    const { table, alone } = openTable(createMemoryIndex().index);
    const over = await alone((exclusive) => ({ exclusive }));
    const put = [{ digest: X, record }];
    await expect(table.write(over.exclusive, { put })).rejects.toThrow(AssertionError);
    expect(() => table.lose(over.exclusive, X)).toThrow(AssertionError);
    expect(table.find(X)).toBeUndefined();
  });
});
