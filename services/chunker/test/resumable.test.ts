import { createHash } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { hashBlock } from '@shoal/blocks';
import { createFileHash } from '../src/resumable/hash.ts';
import { createLeaves } from '../src/resumable/leaves.ts';
import { createUploadLocks } from '../src/tus/locks.ts';
import { readWishes } from '../src/tus/wishes.ts';

const chunkAt = (index: number): Buffer => Buffer.from(`chunk ${index}`);
const sha256Of = (count: number): string => {
  const hash = createHash('sha256');
  for (let index = 0; index < count; index += 1) hash.update(chunkAt(index));
  return hash.digest('hex');
};

describe('leaves', () => {
  it('come back as they were put, past any growth, and may be cut', () => {
    const leaves = createLeaves();
    const cids = Array.from({ length: 100 }, (_, index) => hashBlock('raw', chunkAt(index)));
    for (const cid of cids) leaves.push(cid);
    expect(leaves.slice(0, 1000)).toEqual(cids);
    expect(leaves.slice(90, 5)).toEqual(cids.slice(90, 95));
    leaves.cut(3);
    expect([leaves.count, leaves.slice(2, 10)]).toEqual([3, [cids[2]]]);
    expect(() => leaves.at(3)).toThrow(RangeError);
    leaves.push(hashBlock('raw', chunkAt(7)));
    expect(leaves.at(3)).toBe(cids[7]);
  });
});

describe('the hash of a file', () => {
  it('is that of all chunks, fed as they come or read back, in any mixture', async () => {
    const hash = createFileHash();
    hash.add(0, chunkAt(0));
    hash.add(2, chunkAt(2)); // out of turn: it is read back later
    expect(hash.count).toBe(1);
    let wanted = 3;
    const read: number[] = [];
    await hash.catchUp(
      () => wanted,
      async (index) => {
        read.push(index);
        if (index === 2) wanted = 5; // more came in meanwhile
        return chunkAt(index);
      },
    );
    expect(read).toEqual([1, 2, 3, 4]);
    hash.add(5, chunkAt(5));
    expect(hash.digest()).toBe(sha256Of(6));
    hash.add(6, chunkAt(6));
    expect(hash.digest()).toBe(sha256Of(7));
  });

  it('starts anew when a chunk was not stored after all, also while it reads', async () => {
    const hash = createFileHash();
    for (let index = 0; index < 4; index += 1) hash.add(index, chunkAt(index));
    hash.cutTo(3);
    expect(hash.count).toBe(0);
    let isCut = false;
    await hash.catchUp(
      () => (isCut ? 1 : 3),
      async (index) => {
        if (index === 2) {
          isCut = true;
          hash.cutTo(1);
        }
        return chunkAt(index);
      },
    );
    expect(hash.digest()).toBe(sha256Of(1));
  });

  it('tells whoever asks why it can not be read', async () => {
    const hash = createFileHash();
    const fail = () => Promise.reject(new Error('gone'));
    const both = await Promise.allSettled([
      hash.catchUp(() => 2, fail),
      hash.catchUp(() => 2, fail),
    ]);
    expect(both.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    await hash.catchUp(
      () => 2,
      async (index) => chunkAt(index),
    );
    expect(hash.digest()).toBe(sha256Of(2));
  });
});

describe('locks', () => {
  const { signal } = new AbortController();

  it('let one in at a time, in order, and make the one inside go', async () => {
    const takenOver: string[] = [];
    const locks = createUploadLocks((id) => takenOver.push(id));
    const order: string[] = [];
    const enter = async (id: string, name: string): Promise<Disposable> => {
      const lock = await locks.take(id, { signal });
      order.push(name);
      return lock;
    };
    const first = await enter('a', 'first');
    await enter('b', 'other');
    expect(takenOver).toEqual([]);
    const second = enter('a', 'second');
    const third = enter('a', 'third');
    expect(takenOver).toEqual(['a', 'a']);
    first[Symbol.dispose]();
    (await second)[Symbol.dispose]();
    expect(order).toEqual(['first', 'other', 'second']);
    (await third)[Symbol.dispose]();
    await enter('a', 'again');
    expect(order).toEqual(['first', 'other', 'second', 'third', 'again']);
  });

  it('turn away who left while waiting, and go on with the next', async () => {
    const locks = createUploadLocks(() => {});
    const first = await locks.take('a', { signal });
    const left = new AbortController();
    const refused = locks.take('a', { signal: left.signal });
    const entered = locks.take('a', { signal });
    left.abort();
    await expect(refused).rejects.toMatchObject({ status: 423 });
    first[Symbol.dispose]();
    await entered;
  });
});

describe('wishes', () => {
  it('come by query or metadata, the query first, but the file’s own name', () => {
    const expiresAt = '2999-01-01T00:00:00Z';
    const metadata = {
      filename: 'a.txt',
      name: 'x',
      replicas: '5',
      sha256: 'AB'.repeat(32),
      expiresAt,
    };
    expect(readWishes({ replicas: '2', name: 'y' }, metadata)).toEqual({
      name: 'a.txt',
      replicas: 2,
      copies: 2,
      sha256: 'ab'.repeat(32),
      expiresAtMs: Date.parse(expiresAt),
    });
    expect(readWishes({}, { name: 'b.txt' })).toMatchObject({ name: 'b.txt', replicas: 3 });
    expect(readWishes({ name: 'c.txt' }, {})).toMatchObject({ name: 'c.txt' });
    expect(readWishes({}, { filename: null })).toEqual({ replicas: 3, copies: 2 });
  });

  it.each([
    [{ copies: '17' }, {}, /copies/],
    [{ name: ['a', 'b'] }, {}, /two names/],
    [{}, { filename: '..' }, /folder/],
    [{}, { sha256: 'xyz' }, /sha256/],
    [{ expiresAt: 'tomorrow' }, {}, /expiresAt/],
    [{ expiresAt: '1999-01-01T00:00:00Z' }, {}, /past/],
  ])('that can not be met are refused: %p %p', (query, metadata, reason) => {
    expect(() => readWishes(query, metadata as Record<string, string>)).toThrow(reason);
  });
});
