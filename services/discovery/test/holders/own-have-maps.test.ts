import { describe, expect, it } from '@jest/globals';
import { createLog, type PeerClient } from '@shoal/chassis';
import {
  type Cid,
  type HaveMap,
  type HaveMapOrNot,
  type PeerId,
  ServiceUnavailable,
} from '@shoal/protocol';
import { createOwnHaveMaps } from '../../src/holders/own-have-maps.ts';
import { haveMap } from '../integration/peer.ts';

const rootOf = (index: number) => `root-${index}` as Cid; // nothing here parses it
const rootsOf = (count: number) => Array.from({ length: count }, (_, index) => rootOf(index));
const rootIn = (answer: HaveMap | undefined | 'unread') =>
  typeof answer === 'object' ? answer.root : answer;
const nextTurn = () => new Promise((resolve) => setImmediate(resolve));

/** A storage that says what the test says, as soon as the test lets it. */
function paperStorage(say: (root: Cid) => HaveMapOrNot = (root) => haveMap(root, 3, [0])) {
  const asked: Cid[][] = [];
  let open = Promise.resolve();
  let isAway = false;
  const call = async (
    _: unknown,
    __: unknown,
    { body: { roots } }: { body: { roots: Cid[] } },
    { signal }: { signal: AbortSignal },
  ) => {
    asked.push(roots);
    const gone = new Promise<never>((_resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason as Error));
    });
    await Promise.race([open, gone]);
    if (isAway) throw new ServiceUnavailable({ service: 'storage' });
    return { haveMaps: roots.map(say) };
  };
  const client = {
    own: () => ({ peerId: 'self' as PeerId, origin: 'own' }),
    call,
  } as unknown as PeerClient; // the parts that are called
  const own = createOwnHaveMaps({ client, log: createLog('test', 'silent') });
  return {
    maps: { ...own, read: async (root: Cid) => (await own.read(root)).haveMap },
    asked,
    goAway: () => (isAway = true),
    holdUp: () => {
      const held = Promise.withResolvers<void>();
      open = held.promise;
      return held.resolve;
    },
  };
}

describe('own have-maps', () => {
  it('sends what is asked in one turn together, each root once', async () => {
    const { maps, asked } = paperStorage();
    const roots = rootsOf(10);
    const answers = await Promise.all([...roots, ...roots].map((root) => maps.read(root)));
    expect(answers.map((answer) => rootIn(answer))).toEqual([...roots, ...roots]);
    expect(asked).toEqual([roots]);
  });

  it('makes few calls at a time, and lets the rest wait for the next', async () => {
    const { maps, asked, holdUp } = paperStorage();
    const letGo = holdUp();
    const answers = Promise.all(rootsOf(200).map((root) => maps.read(root)));
    await nextTurn();
    await nextTurn();
    await nextTurn();
    expect(asked.map(({ length }) => length)).toEqual([64, 64]);
    letGo();
    expect(
      new Set(
        (await answers).map((answer) => (typeof answer === 'object' ? answer.blocks : answer)),
      ),
    ).toEqual(new Set([3]));
    expect(asked.map(({ length }) => length)).toEqual([64, 64, 64, 8]);
  });

  it('asks again for a root whose answer is on its way: it may have changed since', async () => {
    let isHeld = false;
    const { maps, asked } = paperStorage((root) => (isHeld ? haveMap(root, 3, [0]) : 'absent'));
    const first = maps.read(rootOf(1));
    await nextTurn();
    isHeld = true;
    const second = maps.read(rootOf(1));
    expect(await first).toBeUndefined();
    expect(await second).toMatchObject({ blocks: 3 });
    expect(asked).toHaveLength(2);
  });

  it('tells what is not held from what can not be told, and the others all the same', async () => {
    const said: readonly HaveMapOrNot[] = [
      'absent',
      'incomplete',
      'unread',
      haveMap(rootOf(3), 3, []),
      { root: rootOf(4), blocks: 300, bits: 'gA' }, // bits that do not fit
      haveMap(rootOf(5), 3, [2]),
    ];
    const { maps } = paperStorage((root) => said[Number(root.split('-')[1])] ?? 'absent');
    const answers = await Promise.all(rootsOf(6).map((root) => maps.read(root)));
    expect(answers.map((answer) => rootIn(answer))).toEqual([
      undefined,
      undefined,
      'unread',
      undefined,
      'unread',
      rootOf(5),
    ]);
  });

  it('can not tell while storage is away, and does not ask without end', async () => {
    const { maps, asked, goAway, holdUp } = paperStorage();
    goAway();
    const letGo = holdUp();
    const answers = Promise.all(rootsOf(2000).map((root) => maps.read(root)));
    letGo();
    expect(new Set(await answers)).toEqual(new Set(['unread']));
    expect(asked.flat()).toHaveLength(1024);
    expect(await maps.read(rootOf(1))).toBe('unread'); // and asks again
    expect(asked.flat()).toHaveLength(1025);
  });

  it('lets go of everybody who waits when it stops', async () => {
    const { maps, holdUp } = paperStorage();
    holdUp();
    const sent = rootsOf(200).map((root) => maps.read(root));
    await nextTurn();
    maps[Symbol.dispose]();
    expect(new Set(await Promise.all(sent))).toEqual(new Set(['unread']));
    expect(await maps.read(rootOf(1))).toBe('unread');
  });
});
