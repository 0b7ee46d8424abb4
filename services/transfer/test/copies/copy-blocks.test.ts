import { describe, expect, it } from '@jest/globals';
import { decodeBits, getBit } from '@shoal/blocks';
import { createLog, createTokenBucket } from '@shoal/chassis';
import { BlockUnavailable, type Cid, Overloaded, storageRoutes } from '@shoal/protocol';
import { Registry } from 'prom-client';
import { createCopyBlocks } from '../../src/copies/copy-blocks.ts';
import { createIncoming } from '../../src/copies/incoming.ts';
import { createMetrics } from '../../src/metrics.ts';
import { createRepairs } from '../../src/copies/repairs.ts';
import { bitsFor, cidOf, paperClient, paperView, type PaperMember } from '../paper.ts';

const signal = AbortSignal.timeout(60_000);

/** Storages as lists; the first is ours. */
function paperStorages(
  shelves: readonly (readonly string[])[],
  members: readonly PaperMember[] = shelves.map(() => ({})),
) {
  const asked: string[] = [];
  const fetched = new Map<Cid, string[]>();
  const kept = new Set<Cid>();
  const { view } = paperView(members);
  const shelfOf = (to: string) => shelves[to === 'own' ? 0 : Number(to.split('-')[1])] ?? [];
  const client = paperClient([
    [
      storageRoutes.haveBlocks,
      ({ to, body: { cids } }) => {
        asked.push(to);
        return bitsFor(cids, (cid) => shelfOf(to).includes(cid));
      },
    ],
    [
      storageRoutes.putBlock,
      ({ params }) => {
        kept.add(cidOf(String(params['cid'])));
        return {};
      },
    ],
  ]);
  const metrics = createMetrics(new Registry());
  const log = createLog('test', 'silent');
  const bucket = createTokenBucket({ ratePerSecond: 0, nowMs: () => 0 });
  const copyBlocks = createCopyBlocks({
    client,
    view,
    async fetchBlock({ cid }, { providers }) {
      const from = providers().said.map(({ peerId }) => peerId);
      fetched.set(cid, from);
      if (cid === 'liar') throw new BlockUnavailable({ cid, providersTried: from.length });
      return { bytes: Buffer.from(cid), release: () => undefined };
    },
    repairs: createRepairs({
      client,
      incoming: createIncoming(),
      bucket,
      blocksMax: 2,
      metrics,
      log,
    }),
    log,
  });
  const run = async (names: readonly string[]) => {
    const { bits } = await copyBlocks({ body: { cids: names.map(cidOf) }, signal });
    const set = decodeBits(bits, names.length);
    return names.filter((_, index) => getBit(set, index));
  };
  return { run, copyBlocks, asked, fetched, kept };
}

describe('copyBlocks', () => {
  it('fetches what is missing from those that confirm it, and from nobody else', async () => {
    const { run, fetched, kept } = paperStorages([['a'], ['b', 'c'], ['c'], []]);
    expect(await run(['a', 'b', 'c', 'gone'])).toEqual(['a', 'b', 'c']);
    expect(Object.fromEntries(fetched)).toEqual({ b: ['peer-1'], c: ['peer-1', 'peer-2'] });
    expect([...kept]).toEqual(['b', 'c']); // the one with fewer holders first
  });

  it('asks only members that are alive', async () => {
    const members: PaperMember[] = [{}, { state: 'suspect' }, { state: 'down' }, {}];
    const { run, asked } = paperStorages([[], ['a'], ['a'], []], members);
    expect(await run(['a'])).toEqual([]);
    expect(asked.toSorted()).toEqual(['own', 'peer-3']);
  });

  it('answers what it could, when one block can’t be had', async () => {
    const { run } = paperStorages([[], ['a', 'liar']]);
    expect(await run(['liar', 'a'])).toEqual(['a']);
  });

  it('asks nobody else for what is here', async () => {
    const { run, fetched } = paperStorages([['a', 'b'], ['a']]);
    expect(await run(['b', 'a', 'b'])).toEqual(['b', 'a', 'b']);
    expect(fetched.size).toBe(0);
  });

  it('refuses more calls at once than it has room for', async () => {
    const { copyBlocks } = paperStorages([[], ['a']]);
    const call = () => copyBlocks({ body: { cids: [cidOf('a')] }, signal });
    const results = await Promise.allSettled(Array.from({ length: 9 }, call));
    const refused = results.filter(({ status }) => status === 'rejected');
    expect(refused.map((result) => (result as PromiseRejectedResult).reason)).toEqual([
      expect.any(Overloaded),
    ]);
    await expect(call()).resolves.toBeDefined();
  });
});
