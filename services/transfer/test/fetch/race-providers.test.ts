import { describe, expect, it } from '@jest/globals';
import { hashBlock } from '@shoal/blocks';
import { BlockCorrupt, BlockUnavailable, type PeerId } from '@shoal/protocol';
import { createRanking } from '@shoal/swarm';
import { fetchBlock, type FetchDeps, type Provider } from '../../src/fetch/fetch.ts';

const cid = hashBlock('raw', Buffer.from('three blind mice'));
const id = (name: string) => name as PeerId; // a name is enough: nothing here dials
const providersNamed = (...names: string[]) => names.map((name) => ({ peerId: id(name) }));

interface TestBlock {
  readonly from: string;
  readonly release: () => void;
}

/** Providers that answer as their names say; keeps what happened. */
function setUp(names: readonly string[], over: Partial<FetchDeps<Provider, TestBlock>> = {}) {
  const asked: string[] = [];
  const ended: string[] = [];
  const released: string[] = [];
  const cancelled: string[] = [];
  const deps: FetchDeps<Provider, TestBlock> = {
    ranking: createRanking(),
    providers: () => providersNamed(...names),
    order: (providers) => providers,
    findMore: async () => false,
    nowMs: () => performance.now(),
    onEnd: ({ peerId }, outcome) => ended.push(`${peerId} ${outcome}`),
    onHedge: () => asked.push('hedge'),
    receive: async ({ peerId }, { signal }) => {
      asked.push(peerId);
      if (peerId.startsWith('dead')) throw new Error('ECONNREFUSED');
      if (peerId.startsWith('liar')) throw new BlockCorrupt({ cid, peer: peerId });
      if (peerId.startsWith('hangs'))
        await new Promise((_, reject) => {
          signal.addEventListener('abort', () => {
            cancelled.push(peerId);
            reject(new Error('cancelled'));
          });
        });
      return { from: peerId, release: () => released.push(peerId) };
    },
    ...over,
  };
  return { deps, asked, ended, released, cancelled };
}
const signal = AbortSignal.timeout(30_000);

describe('fetchBlock', () => {
  it('passes over a liar and a dead peer, and says which was which', async () => {
    const { deps, ended } = setUp(['liar', 'dead', 'good']);
    expect((await fetchBlock(cid, deps, { signal })).from).toBe('good');
    expect(ended).toEqual(['liar corrupt', 'dead failed', 'good verified']);
  });

  it('asks no second peer while the first is good', async () => {
    const { deps, asked } = setUp(['good1', 'good2']);
    await fetchBlock(cid, deps, { signal });
    expect(asked).toEqual(['good1']);
  });

  it('asks a second peer when the first hangs, and cancels the first', async () => {
    const { deps, asked, cancelled, ended } = setUp(['hangs', 'good']);
    expect((await fetchBlock(cid, deps, { signal })).from).toBe('good');
    expect(asked).toEqual(['hangs', 'hedge', 'good']);
    expect(cancelled).toEqual(['hangs']);
    await Promise.resolve();
    expect(ended).toContain('good verified');
    expect(ended).not.toContain('hangs failed'); // that it was slow is not held against it twice
  });

  it('fails with every cause when nobody has it', async () => {
    const { deps } = setUp(['dead1', 'liar', 'dead2']);
    const error = await fetchBlock(cid, deps, { signal }).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(BlockUnavailable);
    const { cause, fields } = error as InstanceType<typeof BlockUnavailable>;
    expect(fields).toEqual({ cid, providersTried: 3 });
    expect((cause as AggregateError).errors).toHaveLength(3);
  });

  it('asks everybody again when there may be more to find', async () => {
    let isBack = false;
    const { deps, asked } = setUp(['dead', 'reborn'], {
      findMore: async () => {
        if (isBack) return false;
        isBack = true;
        return true;
      },
    });
    const receive = deps.receive;
    const waking = {
      ...deps,
      receive: (async (provider, options) => {
        if (provider.peerId === 'reborn' && !isBack) throw new Error('still starting');
        return receive(provider, options);
      }) satisfies typeof receive,
    };
    expect((await fetchBlock(cid, waking, { signal })).from).toBe('reborn');
    expect(asked).toEqual(['dead', 'dead', 'reborn']);
  });

  it('stops when the caller gives up, and blames nobody', async () => {
    const { deps, ended, cancelled } = setUp(['hangs']);
    const caller = new AbortController();
    const fetching = fetchBlock(cid, deps, { signal: caller.signal });
    caller.abort(new Error('the caller left'));
    await expect(fetching).rejects.toThrow('the caller left');
    expect(cancelled).toEqual(['hangs']);
    expect(ended).toEqual(['hangs cancelled']);
  });

  it('releases the block of a loser that came in all the same', async () => {
    const gates = new Map<string, () => void>();
    const { deps, released } = setUp([], {
      providers: () => providersNamed('slow1', 'slow2'),
      receive: async ({ peerId }) => {
        await new Promise<void>((resolve) => gates.set(peerId, resolve));
        return { from: peerId, release: () => released.push(peerId) };
      },
    });
    const fetching = fetchBlock(cid, deps, { signal });
    while (gates.size < 2) await new Promise((resolve) => setImmediate(resolve));
    gates.get('slow2')?.();
    gates.get('slow1')?.();
    const { from } = await fetching;
    await new Promise((resolve) => setImmediate(resolve));
    expect([from, ...released].toSorted()).toEqual(['slow1', 'slow2']);
    expect(released).toHaveLength(1);
  });
});
