import { describe, expect, it } from '@jest/globals';
import { hashBlock } from '@shoal/blocks';
import { BlockCorrupt, BlockNotFound, BlockUnavailable, type PeerId } from '@shoal/protocol';
import { createRanking } from '@shoal/swarm';
import { type Provider, type RaceDeps, raceProviders } from '../../src/fetch/race-providers.ts';

const cid = hashBlock('raw', Buffer.from('three blind mice'));
const id = (name: string) => name as PeerId; // a name is enough: nothing here dials
const nextOf =
  (...names: readonly string[]) =>
  (tried: ReadonlySet<PeerId>) =>
    names.map((name) => ({ peerId: id(name) })).find(({ peerId }) => !tried.has(peerId));

interface TestBlock {
  readonly from: string;
  readonly release: () => void;
}

/** Providers that answer as their names say; keeps what happened. */
function setUp(names: readonly string[], over: Partial<RaceDeps<Provider, TestBlock>> = {}) {
  const asked: string[] = [];
  const ended: string[] = [];
  const released: string[] = [];
  const cancelled: string[] = [];
  const deps: RaceDeps<Provider, TestBlock> = {
    ranking: createRanking(),
    next: nextOf(...names),
    findMore: async () => false,
    nowMs: () => performance.now(),
    onEnd: ({ peerId }, { outcome }) => ended.push(`${peerId} ${outcome}`),
    onHedge: () => asked.push('hedge'),
    receive: async ({ peerId }, { signal }) => {
      asked.push(peerId);
      if (peerId.startsWith('dead')) throw new Error('ECONNREFUSED');
      if (peerId.startsWith('empty')) throw new BlockNotFound({ cid });
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

describe('raceProviders', () => {
  it('passes over a liar and a dead peer, and says which was which', async () => {
    const { deps, ended } = setUp(['liar', 'dead', 'good']);
    expect((await raceProviders(cid, deps, { signal })).from).toBe('good');
    expect(ended).toEqual(['liar corrupt', 'dead failed', 'good verified']);
  });

  it('passes over one that does not have it at once, asks it no second time, and blames it for nothing', async () => {
    const { deps, asked, ended } = setUp(['empty', 'hangs', 'good']);
    expect((await raceProviders(cid, deps, { signal })).from).toBe('good');
    expect(asked).toEqual(['empty', 'hangs', 'hedge', 'good']);
    expect(ended).toContain('empty absent');
    for (let time = 0; time < 3; time += 1)
      await raceProviders(cid, { ...deps, next: nextOf('empty', 'good') }, { signal });
    expect(deps.ranking.standing(id('empty'), performance.now()).tier).toBe(0);
  });

  it('says of each whether it was a hedge', async () => {
    const hedges: string[] = [];
    const { deps } = setUp(['hangs', 'good'], {
      onEnd: ({ peerId }, { outcome, isHedge }) => hedges.push(`${peerId} ${outcome} ${isHedge}`),
    });
    await raceProviders(cid, deps, { signal });
    expect(hedges).toContain('good verified true');
  });

  it('asks no second peer while the first is good', async () => {
    const { deps, asked } = setUp(['good1', 'good2']);
    await raceProviders(cid, deps, { signal });
    expect(asked).toEqual(['good1']);
  });

  it('asks a second peer when the first hangs, and cancels the first', async () => {
    const { deps, asked, cancelled, ended } = setUp(['hangs', 'good']);
    expect((await raceProviders(cid, deps, { signal })).from).toBe('good');
    expect(asked).toEqual(['hangs', 'hedge', 'good']);
    expect(cancelled).toEqual(['hangs']);
    await Promise.resolve();
    expect(ended).toContain('good verified');
    expect(ended).not.toContain('hangs failed'); // that it was slow is not held against it twice
  });

  it('fails with every cause when nobody has it', async () => {
    const { deps } = setUp(['dead1', 'liar', 'dead2']);
    const error = await raceProviders(cid, deps, { signal }).catch((caught: unknown) => caught);
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
    expect((await raceProviders(cid, waking, { signal })).from).toBe('reborn');
    expect(asked).toEqual(['dead', 'dead', 'reborn']);
  });

  it('stops when the caller gives up, and blames nobody', async () => {
    const { deps, ended, cancelled } = setUp(['hangs']);
    const caller = new AbortController();
    const fetching = raceProviders(cid, deps, { signal: caller.signal });
    caller.abort(new Error('the caller left'));
    await expect(fetching).rejects.toThrow('the caller left');
    expect(cancelled).toEqual(['hangs']);
    expect(ended).toEqual(['hangs cancelled']);
  });

  it('releases the block of a loser that came in all the same', async () => {
    const gates = new Map<string, () => void>();
    const { deps, released } = setUp([], {
      next: nextOf('slow1', 'slow2'),
      receive: async ({ peerId }) => {
        await new Promise<void>((resolve) => gates.set(peerId, resolve));
        return { from: peerId, release: () => released.push(peerId) };
      },
    });
    const fetching = raceProviders(cid, deps, { signal });
    while (gates.size < 2) await new Promise((resolve) => setImmediate(resolve));
    gates.get('slow2')?.();
    gates.get('slow1')?.();
    const { from } = await fetching;
    await new Promise((resolve) => setImmediate(resolve));
    expect([from, ...released].toSorted()).toEqual(['slow1', 'slow2']);
    expect(released).toHaveLength(1);
  });
});
