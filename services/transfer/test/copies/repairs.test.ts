import { describe, expect, it } from '@jest/globals';
import { createLog, createTokenBucket } from '@shoal/chassis';
import { BlockCorrupt, type Cid, StorageFull, storageRoutes } from '@shoal/protocol';
import { Registry } from 'prom-client';
import { createIncoming } from '../../src/copies/incoming.ts';
import { createMetrics } from '../../src/metrics.ts';
import { createRepairs } from '../../src/copies/repairs.ts';
import { cidOf, paperClient } from '../paper.ts';

const BLOCK_BYTES = 1000;
const wantsOf = (count: number) =>
  Array.from({ length: count }, (_, index) => ({ cid: cidOf(`cid-${index}`) }));

function paperRepairs({ ratePerSecond = 0, blocksMax = 2, room = Infinity } = {}) {
  const kept: Cid[] = [];
  const leases: unknown[] = [];
  const yields: unknown[] = [];
  let released = 0;
  let underWay = 0;
  let most = 0;
  const client = paperClient([
    [
      storageRoutes.putBlock,
      ({ params, query }) => {
        if (kept.length >= room) throw new StorageFull({ limit: 'storage capacity', freeBytes: 0 });
        leases.push(query['lease']);
        yields.push(query['yields']);
        kept.push(cidOf(String(params['cid'])));
        return {};
      },
    ],
  ]);
  const bucket = createTokenBucket({ ratePerSecond, nowMs: () => performance.now() });
  const metrics = createMetrics(new Registry());
  const log = createLog('test', 'silent');
  return {
    repairs: createRepairs({ client, incoming: createIncoming(), bucket, blocksMax, metrics, log }),
    metrics,
    kept,
    leases,
    yields,
    most: () => most,
    released: () => released,
    fetch: async () => {
      most = Math.max(most, (underWay += 1));
      await Promise.resolve();
      underWay -= 1;
      return { bytes: Buffer.alloc(BLOCK_BYTES), release: () => (released += 1) };
    },
  };
}

describe('repairs', () => {
  const { signal } = new AbortController();
  const options = { lookedAtMs: 0, signal };

  it('copies in the order given, without a lease, a bounded number at a time', async () => {
    const paper = paperRepairs({ blocksMax: 2 });
    const wants = wantsOf(10);
    const both = await Promise.all([
      paper.repairs.copy(wants.slice(0, 5), paper.fetch, options),
      paper.repairs.copy(wants.slice(5), paper.fetch, options),
    ]);
    expect(both.map(({ copied }) => copied.length)).toEqual([5, 5]);
    expect(both[0].copied).toEqual(wants.slice(0, 5).map(({ cid }) => cid));
    expect(paper.most()).toBe(2);
    expect(paper.released()).toBe(10);
    expect(new Set(paper.leases)).toEqual(new Set([undefined]));
  });

  it('keeps to its bandwidth', async () => {
    const paper = paperRepairs({ ratePerSecond: 100 * BLOCK_BYTES, blocksMax: 1 });
    const startedAtMs = performance.now();
    const { copied } = await paper.repairs.copy(wantsOf(116), paper.fetch, options);
    expect(copied).toHaveLength(116);
    // A second's worth at once, one more into debt, the rest at 10 ms each.
    expect(performance.now() - startedAtMs).toBeGreaterThanOrEqual(140);
  });

  it('stops at the first refusal of a full storage', async () => {
    const paper = paperRepairs({ blocksMax: 1, room: 3 });
    const { copied, isFull, failedBlocks } = await paper.repairs.copy(
      wantsOf(100),
      paper.fetch,
      options,
    );
    expect({ copied: copied.length, isFull, failedBlocks }).toEqual({
      copied: 3,
      isFull: true,
      failedBlocks: 1,
    });
    expect(paper.released()).toBe(4);
  });

  it('of a deleted file say that they yield, and others do not', async () => {
    const paper = paperRepairs();
    await paper.repairs.copy(wantsOf(1), paper.fetch, { ...options, isYielding: true });
    await paper.repairs.copy(wantsOf(2).slice(1), paper.fetch, options);
    expect(paper.yields).toEqual(['true', undefined]);
  });

  it('goes on past a block that nobody gives', async () => {
    const paper = paperRepairs();
    const fetch = async ({ cid }: { cid: Cid }) => {
      if (cid === cidOf('cid-1')) throw new BlockCorrupt({ cid, peer: 'a peer' });
      return paper.fetch();
    };
    const { copied, failedBlocks, isFull } = await paper.repairs.copy(wantsOf(4), fetch, options);
    expect({ copied: copied.length, failedBlocks, isFull }).toEqual({
      copied: 3,
      failedBlocks: 1,
      isFull: false,
    });
  });

  it('ends when the caller leaves, also while it waits for bandwidth, and leaves its place', async () => {
    const paper = paperRepairs({ ratePerSecond: 1, blocksMax: 1 });
    const caller = new AbortController();
    const copying = paper.repairs.copy(wantsOf(9), paper.fetch, {
      lookedAtMs: 0,
      signal: caller.signal,
    });
    copying.catch(() => undefined); // looked at below
    await new Promise(setImmediate);
    caller.abort(new Error('the caller left'));
    await expect(copying).rejects.toThrow('the caller left');
    expect((await paper.metrics.repairsWaiting.get()).values[0]?.value).toBe(0);
  });
});
