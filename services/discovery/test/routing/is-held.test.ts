import { describe, expect, it } from '@jest/globals';
import { hashBlock } from '@shoal/blocks';
import { createLog, type PeerClient, type Target } from '@shoal/chassis';
import { type Cid, Overloaded, type Member, type Pin, PeerId } from '@shoal/protocol';
import { createFindBlock } from '../../src/routing/is-held.ts';
import { createMetrics } from '../../src/metrics.ts';

const { signal } = new AbortController();
const NAMES = ['self', 'one', 'two'] as const;
type Name = (typeof NAMES)[number];
/** How a storage answers: with a bit, when the test opens, not at all until it is given up, or by failing. */
type Says = 'yes' | 'no' | 'late' | 'silent' | 'broken';

const cidOf = (text: string): Cid => hashBlock('raw', Buffer.from(text));

function stand(says: Partial<Record<Name, Says>>, states: Partial<Record<Name, string>> = {}) {
  const opened = Promise.withResolvers<void>();
  const asked: string[] = [];
  let nowMs = 0;
  const members = NAMES.map((name) => ({
    peerId: PeerId.parse(`12D3Koo${name.padEnd(45, 'x').replace(/l/g, 'L').replace(/o/g, 'e')}`),
    http: { storage: name },
    state: states[name] ?? 'alive',
    isSelf: name === 'self',
  })) as unknown as Member[]; // only what is looked at
  const call = async (
    target: Target,
    _route: unknown,
    _args: unknown,
    options: { signal: AbortSignal },
  ) => {
    const name = target.origin as Name;
    asked.push(name);
    const answer = says[name] ?? 'no';
    if (answer === 'late') await opened.promise;
    if (answer === 'broken') throw new Error('broken');
    if (answer === 'silent')
      await new Promise((_, reject) => {
        options.signal.addEventListener('abort', () => reject(new Error('given up')));
      });
    return { bits: answer === 'yes' ? 'gA' : 'AA' };
  };
  const pins = new Map<Cid, Pin>();
  const find = createFindBlock({
    findPin: (root) => pins.get(root),
    // The two functions of the client that are used here.
    client: { call, own: () => ({ origin: 'self' }) } as unknown as PeerClient,
    members: () => members,
    clock: () => nowMs,
    metrics: createMetrics(),
    log: createLog('test', 'silent'),
  });
  return { find, open: opened.resolve, asked, pins, says, pass: (ms: number) => (nowMs += ms) };
}

describe('whether the swarm holds a block', () => {
  it('asks nobody about the root of a pin', async () => {
    const { find, asked, pins } = stand({});
    pins.set(cidOf('a'), {} as Pin);
    expect(await find.isHeld(cidOf('a'), { client: 'a', signal })).toBe(true);
    expect(asked).toEqual([]);
  });

  it('asks no other member once our own storage has it', async () => {
    const { find, asked } = stand({ self: 'yes' });
    expect(await find.isHeld(cidOf('a'), { client: 'a', signal })).toBe(true);
    expect(asked).toEqual(['self']);
  });

  it('takes the first yes, and waits for nobody then', async () => {
    const { find } = stand({ self: 'broken', one: 'silent', two: 'yes' });
    expect(await find.isHeld(cidOf('a'), { client: 'a', signal })).toBe(true);
  });

  it('is no once all said so or failed', async () => {
    const { find, asked } = stand({ one: 'broken' });
    expect(await find.isHeld(cidOf('a'), { client: 'a', signal })).toBe(false);
    expect(asked.toSorted()).toEqual(['one', 'self', 'two']);
  });

  it('asks only members that are alive', async () => {
    const { find, asked } = stand({ one: 'yes', two: 'yes' }, { one: 'down', two: 'suspect' });
    expect(await find.isHeld(cidOf('a'), { client: 'a', signal })).toBe(false);
    expect(asked).toEqual(['self']);
  });

  it('asks once for many that ask at the same time, whatever their codec', async () => {
    const { find, asked } = stand({ self: 'yes' });
    const both = [cidOf('a'), hashBlock('dag-pb', Buffer.from('a'))];
    const answers = await Promise.all(both.map((cid) => find.isHeld(cid, { client: 'a', signal })));
    expect(answers).toEqual([true, true]);
    expect(asked).toEqual(['self']);
  });

  it('remembers a yes for seconds and a no for one', async () => {
    const { find, asked, says, pass } = stand({ self: 'no' });
    expect(await find.isHeld(cidOf('a'), { client: 'a', signal })).toBe(false);
    says.self = 'yes';
    pass(900);
    expect(await find.isHeld(cidOf('a'), { client: 'a', signal })).toBe(false);
    pass(200);
    expect(await find.isHeld(cidOf('a'), { client: 'a', signal })).toBe(true);
    says.self = 'no';
    pass(4900);
    expect(await find.isHeld(cidOf('a'), { client: 'a', signal })).toBe(true);
    pass(200);
    expect(await find.isHeld(cidOf('a'), { client: 'a', signal })).toBe(false);
    expect(asked.filter((name) => name === 'self')).toHaveLength(3);
  });

  it('refuses more searches than its bound, and ends those under way when it stops', async () => {
    const { find } = stand({ self: 'silent' });
    const searches = Array.from({ length: 256 }, (_, index) =>
      find.isHeld(cidOf(String(index)), { client: 'a', signal }),
    );
    await expect(find.isHeld(cidOf('one more'), { client: 'a', signal })).rejects.toBeInstanceOf(
      Overloaded,
    );
    find[Symbol.dispose]();
    expect(await Promise.all(searches)).toEqual(searches.map(() => false));
  });

  it('gives a client that has no search the next place, whoever has them all and asks for more', async () => {
    const { find, open } = stand({ self: 'late' });
    const ask = (client: string, name: string) => find.isHeld(cidOf(name), { client, signal });
    const greedy = Array.from({ length: 512 }, (_, index) =>
      ask('a', String(index)).catch((error: unknown) => error),
    );
    const other = ask('b', 'of another');
    expect(await greedy.at(-1)).toBeInstanceOf(Overloaded);
    open();
    expect(await other).toBe(false);
  });
});
