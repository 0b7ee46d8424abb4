import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import type { Cid } from '@shoal/protocol';
import type { ReceivedBlock } from '../../src/fetch/receive-block.ts';
import { createSharedBlocks } from '../../src/fetch/shared-blocks.ts';
import { cidOf } from '../paper.ts';

const waits = { signal: new AbortController().signal };

/** A fetch that a test ends by hand. */
function rig() {
  const fetches: { signal: AbortSignal; resolve: () => void; reject: (error: Error) => void }[] =
    [];
  let released = 0;
  const fetch = ({ signal }: { signal: AbortSignal }): Promise<ReceivedBlock> => {
    const { promise, resolve, reject } = Promise.withResolvers<ReceivedBlock>();
    const block = { bytes: Buffer.from('block'), release: () => (released += 1) };
    fetches.push({ signal, resolve: () => resolve(block), reject });
    return promise;
  };
  const shared = createSharedBlocks();
  const get = (cid: Cid, options = waits, client = 'a') =>
    shared.get(cid, fetch, { ...options, client });
  return { shared, get, fetches, released: () => released };
}

describe('shared blocks', () => {
  beforeEach(() => {
    jest.useFakeTimers();
  });
  afterEach(() => {
    jest.useRealTimers();
  });

  it('are fetched once for all who want them at a time, and for who comes a moment later', async () => {
    const { get, fetches, released } = rig();
    const both = Promise.all([get(cidOf('a')), get(cidOf('a'))]);
    fetches[0]?.resolve();
    for (const { release } of await both) release();
    const third = await get(cidOf('a'));
    expect(fetches).toHaveLength(1);
    expect(released()).toBe(0);
    jest.runAllTimers();
    await Promise.resolve();
    expect(released()).toBe(0); // the third still reads it
    third.release();
    third.release(); // twice is once
    await Promise.resolve();
    expect(released()).toBe(1);
    void get(cidOf('a'));
    expect(fetches).toHaveLength(2);
  });

  it('go on while one of those who want them stays, and end with the last', async () => {
    const { get, fetches } = rig();
    const leavers = [new AbortController(), new AbortController()];
    const asked = leavers.map(({ signal }) => get(cidOf('a'), { signal }));
    leavers[0]?.abort(new Error('left'));
    await expect(asked[0]).rejects.toThrow('left');
    expect(fetches[0]?.signal.aborted).toBe(false);
    leavers[1]?.abort(new Error('left too'));
    await expect(asked[1]).rejects.toThrow('left too');
    expect(fetches[0]?.signal.aborted).toBe(true);
    void get(cidOf('a')); // and whoever comes then has a fetch of their own
    expect(fetches).toHaveLength(2);
  });

  it('give a block back that came after everybody had left', async () => {
    const { get, fetches, released } = rig();
    const leaver = new AbortController();
    const asked = get(cidOf('a'), { signal: leaver.signal });
    leaver.abort(new Error('left'));
    await expect(asked).rejects.toThrow('left');
    fetches[0]?.resolve();
    await Promise.resolve();
    await Promise.resolve();
    expect(released()).toBe(1);
  });

  it('tell a failure to all, and do not remember it', async () => {
    const { get, fetches } = rig();
    const both = [get(cidOf('a')), get(cidOf('a'))];
    fetches[0]?.reject(new Error('gone'));
    for (const asked of both) await expect(asked).rejects.toThrow('gone');
    void get(cidOf('a'));
    expect(fetches).toHaveLength(2);
  });

  it('keep few, the newest', async () => {
    const { get, fetches, released } = rig();
    for (let index = 0; index < 17; index += 1) {
      const asked = get(cidOf(`${index}`));
      fetches[index]?.resolve();
      (await asked).release();
    }
    await Promise.resolve();
    expect(released()).toBe(1);
  });

  it('are not looked for without bound', async () => {
    const { get } = rig();
    for (let index = 0; index < 512; index += 1) void get(cidOf(`${index}`));
    await expect(get(cidOf('one more'))).rejects.toMatchObject({ type: 'problems/overloaded' });
    void get(cidOf('0')); // what is under way may be joined
  });

  it('make room for a client that has none, but not those that two wait for', async () => {
    jest.useRealTimers(); // it takes the second that fetches have to end by themselves
    const { get, fetches } = rig();
    const first = Array.from({ length: 512 }, (_, index) => get(cidOf(`${index}`)));
    for (const { signal, reject } of fetches)
      signal.addEventListener('abort', () => reject(signal.reason as Error));
    const joined = get(cidOf('511'), waits, 'b');
    const other = get(cidOf('of another'), waits, 'c');
    await expect(first[510]).rejects.toMatchObject({ type: 'problems/gave-way' });
    fetches.at(-1)?.resolve();
    expect((await other).bytes.toString()).toBe('block');
    fetches[511]?.resolve();
    (await joined).release();
    expect(fetches).toHaveLength(513);
  });
});
