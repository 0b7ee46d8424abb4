import { AssertionError } from 'node:assert';
import { describe, expect, it } from '@jest/globals';
import { hashBlock } from '@shoal/blocks';
import { type Lease, Overloaded } from '@shoal/protocol';
import { decodeRecord, encodeRecord } from '../src/index/block-index.ts';
import type { BlockRecord, Digest } from '../src/disk/block-record.ts';
import { createBufferPool, OWN } from '../src/disk/buffers.ts';
import { createCommitQueue, type Exclusive } from '../src/index/commit-queue.ts';
import { createDagListings } from '../src/dags/dag-listing.ts';
import { recordAfterMark, recordAfterPut } from '../src/index/records.ts';
import { mayRetire } from '../src/store/operations/retire.ts';
import { Leases } from '../src/store/state/leases.ts';
import { Retired } from '../src/store/state/retired.ts';

const A = '00000000-0000-4000-8000-00000000000a' as Lease;
const B = '00000000-0000-4000-8000-00000000000b' as Lease;
const record: BlockRecord = {
  sizeBytes: 1_048_576,
  place: 'file',
  writtenAtMs: 1_700_000_000_123,
  checkedAtMs: 1_700_000_000_456,
  condemnedAtMs: 0,
  isDamaged: false,
  replicas: 0,
  isNode: false,
  lease: A,
};

describe('index records', () => {
  it('come back as they were written', () => {
    const others: Partial<BlockRecord>[] = [
      {},
      { place: 'lmdb', isNode: true, replicas: 16 },
      { isDamaged: true, condemnedAtMs: 1_700_000_000_789 },
    ];
    for (const other of others) {
      const changed = { ...record, ...other };
      expect(decodeRecord(encodeRecord(changed))).toEqual(changed);
    }
    expect(decodeRecord(encodeRecord({ ...record, lease: undefined })).lease).toBeUndefined();
  });

  it('are read in the layout of the first release too', () => {
    const old = Buffer.alloc(14 + 36);
    old[0] = 1 | 2;
    old[1] = 3;
    old.writeUInt32BE(1_048_576, 2);
    old.writeDoubleBE(1_700_000_000_123, 6);
    old.write(A, 14, 'latin1');
    const { writtenAtMs } = record;
    const expected = { ...record, isNode: true, replicas: 3, checkedAtMs: writtenAtMs };
    expect(decodeRecord(old)).toEqual(expected);
    expect(decodeRecord(old.subarray(0, 14))).toEqual({ ...expected, lease: undefined });
  });

  it('are tied to a lease only while it is the only one', () => {
    const put = { sizeBytes: 10, nowMs: 5, isSound: false };
    expect(recordAfterPut(undefined, { ...put, leases: [A] })).toMatchObject({ lease: A });
    expect(recordAfterPut(undefined, { ...put, leases: [A, B] })?.lease).toBeUndefined();
    expect(recordAfterPut(undefined, { ...put, leases: [undefined] })?.lease).toBeUndefined();
    const held = { ...put, nowMs: record.writtenAtMs, isSound: true };
    expect(recordAfterPut(record, { ...held, leases: [A] })).toBeUndefined();
    expect(recordAfterPut(record, { ...held, leases: [B] })).toEqual({
      ...record,
      lease: undefined,
    });
  });

  it('keep what pins said when the bytes are written anew', () => {
    const kept = { ...record, replicas: 3, isNode: true, lease: undefined };
    const anew = recordAfterPut(kept, { sizeBytes: 9, nowMs: 1, isSound: false, leases: [A] });
    expect(anew).toMatchObject({ replicas: 3, isNode: true, place: 'lmdb', lease: undefined });
  });

  it('remember the highest replicas that a pin wanted', () => {
    const kept = recordAfterMark(record, { isNode: true, replicas: 3 });
    expect(kept).toMatchObject({ replicas: 3, isNode: true, lease: undefined });
    expect(kept && recordAfterMark(kept, { isNode: false, replicas: 2 })).toBeUndefined();
  });
});

describe('mayRetire', () => {
  const free = { isLeased: false, isNode: false, replicas: 3 };
  it('leaves out what is leased, wanted by more, or a kept node', () => {
    expect(mayRetire({ replicas: 3, isNode: false }, free)).toBe(true);
    expect(mayRetire({ replicas: 0, isNode: false }, free)).toBe(true);
    expect(mayRetire({ replicas: 3, isNode: false }, { ...free, isLeased: true })).toBe(false);
    expect(mayRetire({ replicas: 4, isNode: false }, free)).toBe(false);
    expect(mayRetire({ replicas: 3, isNode: true }, free)).toBe(false);
    expect(mayRetire({ replicas: 3, isNode: false }, { ...free, isNode: true })).toBe(false);
    expect(mayRetire({ replicas: 0, isNode: false }, { ...free, isNode: true })).toBe(true);
  });
});

describe('the buffer pool', () => {
  it('lends a bounded number and refuses the queue past its bound', async () => {
    const pool = createBufferPool({ sizeBytes: 8, buffersMax: 1, waitingMax: 1, what: 'reads' });
    const first = await pool.take(OWN);
    const second = pool.take(OWN);
    await expect(pool.take(OWN)).rejects.toBeInstanceOf(Overloaded);
    first[Symbol.dispose]();
    first[Symbol.dispose]();
    const got = await second;
    expect(got.buffer).toBe(first.buffer);
    expect(pool.taken).toBe(1);
    got[Symbol.dispose]();
    expect(pool.taken).toBe(0);
  });

  it('lends next to whoever has fewest, and refuses one of those of whom most wait', async () => {
    const pool = createBufferPool({ sizeBytes: 8, buffersMax: 2, waitingMax: 3, what: 'reads' });
    const many = { client: 'many' };
    const held = [await pool.take(many), await pool.take(many)];
    const order: string[] = [];
    const take = (client: string) =>
      pool.take({ client }).then((lent) => {
        order.push(client);
        return lent;
      });
    const queued = [take('many'), take('many'), take('many')];
    const one = take('one');
    await expect(queued[2]).rejects.toBeInstanceOf(Overloaded);
    held[0]?.[Symbol.dispose]();
    (await one)[Symbol.dispose]();
    (await queued[0])?.[Symbol.dispose]();
    (await queued[1])?.[Symbol.dispose]();
    expect(order).toEqual(['one', 'many', 'many']);
  });

  it('takes a buffer back from whoever holds most and reads slowly, from nobody else', async () => {
    const pool = createBufferPool({ sizeBytes: 8, buffersMax: 3, waitingMax: 3, what: 'reads' });
    const fast = await pool.take({ client: 'a', mayYield: true, isSlow: () => false });
    const slow = await pool.take({ client: 'a', mayYield: true, isSlow: () => true });
    const own = await pool.take({ client: 'a', isSlow: () => true });
    slow.signal.addEventListener('abort', () => slow[Symbol.dispose]());
    using _other = await pool.take({ client: 'b' });
    expect([fast, slow, own].map(({ signal }) => signal.aborted)).toEqual([false, true, false]);
  });
});

describe('the commit queue', () => {
  const limits = { itemsMax: 3, sizeMaxBytes: 100, sizeOf: (n: number) => n };

  it('commits what waits together, within its bounds', async () => {
    const batches: number[][] = [];
    const queue = createCommitQueue<number, number>(async (items) => {
      batches.push([...items]);
      return items;
    }, limits);
    await Promise.all([1, 2, 3, 4, 60, 50, 200].map((n) => queue.add(n)));
    expect(batches).toEqual([[1, 2, 3], [4, 60], [50], [200]]);
  });

  it('runs a lone task between what came before and what came after', async () => {
    const seen: string[] = [];
    const queue = createCommitQueue<number, number>(async (items) => {
      seen.push(`put ${items.join(' ')}`);
      return items;
    }, limits);
    await Promise.all([queue.add(1), queue.alone(() => seen.push('alone')), queue.add(2)]);
    await queue.idle();
    expect(seen).toEqual(['put 1', 'alone', 'put 2']);
  });

  it('fails one item or the whole batch, and goes on', async () => {
    const queue = createCommitQueue<number, number>(async (items) => {
      if (items.includes(9)) throw new Error('disk gone');
      return items.map((n) => (n === 2 ? new Error('only me') : n));
    }, limits);
    const first = await Promise.allSettled([1, 2].map((n) => queue.add(n)));
    expect(first.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
    await expect(queue.add(9)).rejects.toThrow('disk gone');
    await expect(queue.alone(() => Promise.reject(new Error('task')))).rejects.toThrow('task');
    await expect(queue.add(3)).resolves.toBe(3);
  });
});

describe('the right to be alone with the store', () => {
  const limits = { itemsMax: 3, sizeMaxBytes: 100, sizeOf: (n: number) => n };

  it('lasts as long as the task or the batch that it was given to, however that ends', async () => {
    const rights: Exclusive[] = [];
    const queue = createCommitQueue<number, number>(async (items, exclusive) => {
      rights.push(exclusive);
      exclusive.assertHeld();
      return items;
    }, limits);
    await queue.add(1);
    await queue.alone(async (exclusive) => {
      rights.push(exclusive);
      await Promise.resolve();
      exclusive.assertHeld();
    });
    const failed = queue.alone((exclusive) => {
      rights.push(exclusive);
      throw new Error('task');
    });
    await expect(failed).rejects.toThrow('task');
    expect(new Set(rights).size).toBe(3);
    for (const right of rights) expect(() => right.assertHeld()).toThrow(AssertionError);
  });

  it('is asked for by what changes the store', async () => {
    const queue = createCommitQueue<number, number>(async (items) => items, limits);
    const over = await queue.alone((exclusive) => ({ exclusive }));
    const retired = new Retired();
    const X = 'aa'.repeat(32) as Digest;
    expect(() => retired.add(over.exclusive, X)).toThrow(AssertionError);
    expect(() => new Leases([], { nowMs: 0 }).giveUp(over.exclusive, A)).toThrow(AssertionError);
    expect(retired.has(X)).toBe(false);
  });

  it('ends with a batch whose commit did not answer for each item, which is a bug', async () => {
    const queue = createCommitQueue<number, number>(async () => [], limits);
    await expect(queue.add(1)).rejects.toThrow(AssertionError);
  });
});

describe('dag listings', () => {
  it('are read once, and the least used goes first', async () => {
    let reads = 0;
    const listings = createDagListings({
      readNode: async () => {
        reads += 1;
        return undefined;
      },
      blocksMax: 1,
    });
    const root = hashBlock('raw', Buffer.from('x'));
    const listing = await listings.list(root);
    expect(listing.blocks).toBe(1);
    expect(listing.isNodeAt(0)).toBe(false);
    expect(await listings.list(root)).toBe(listing);
    await listings.list(hashBlock('raw', Buffer.from('y')));
    expect(await listings.list(root)).not.toBe(listing);
    expect(reads).toBe(0);
    const node = hashBlock('dag-pb', Buffer.from('z'));
    await expect(listings.list(node)).rejects.toThrow('absent');
  });
});
