import { describe, expect, it } from '@jest/globals';
import { hashBlock } from '@shoal/blocks';
import { createBufferPool, createLog, type PeerClient } from '@shoal/chassis';
import { BlockUnavailable, type Cid, NotCached, storageRoutes } from '@shoal/protocol';
import { Registry } from 'prom-client';
import { AnyBlocks } from '../../src/fetch/any-blocks.ts';
import { createAskStorage } from '../../src/fetch/ask-storage.ts';
import type { FetchBlock } from '../../src/fetch/fetch.ts';
import { createReceiveBlock } from '../../src/fetch/receive-block.ts';
import { createMetrics } from '../../src/metrics.ts';
import { bitsFor, paperClient, paperView, type PaperMember, peerOf } from '../paper.ts';

const BYTES = Buffer.from('a block');
const CID = hashBlock('raw', BYTES);
const signal = new AbortController().signal;
const SELF = 'own';

/** A swarm in which the named members hold some blocks: ours is `own`. */
function rig(
  holders: Record<string, readonly Cid[]>,
  {
    members = [{}, {}, {}],
    refuses = [],
    hangs = [],
    ownBytes = BYTES,
  }: {
    members?: PaperMember[];
    refuses?: readonly string[];
    hangs?: readonly string[];
    ownBytes?: Buffer;
  } = {},
) {
  const asked: { to: string; cids: readonly Cid[] }[] = [];
  const fetched: (readonly string[])[] = [];
  const reported: Cid[] = [];
  const has = (to: string, cid: Cid) => holders[to]?.includes(cid) ?? false;
  const client: PeerClient = {
    ...paperClient([
      [
        storageRoutes.haveBlocks,
        async ({ to, body: { cids }, gone }) => {
          asked.push({ to, cids });
          if (hangs.includes(to)) return gone;
          if (refuses.includes(to)) throw new Error('refused');
          return bitsFor(cids, (cid) => has(to, cid));
        },
      ],
    ]),
    receive: async (_, path, { onHead }) => {
      const cid = path.split('/').at(-1) as Cid; // the path of one block ends in its name
      if (has(SELF, cid)) onHead(200, ownBytes.length)?.set(ownBytes);
      else onHead(404, 0);
    },
  };
  const fetchBlock: FetchBlock = async ({ cid }, { providers }) => {
    const from = providers().said;
    fetched.push(from.map(({ peerId }) => peerId));
    if (from.every(({ peerId }) => refuses.includes(`bytes of ${peerId}`)))
      throw new BlockUnavailable({ cid, providersTried: from.length });
    return { bytes: BYTES, release: () => {} };
  };
  const { view } = paperView(members);
  const pool = createBufferPool(1024, 4);
  const log = createLog('transfer', 'silent');
  const registry = new Registry();
  const ask = createAskStorage({
    client,
    view,
    receive: createReceiveBlock({ client, pool, stallMs: 1000, timeoutMs: 1000 }),
    metrics: createMetrics(registry),
    reportCorrupt: (_, cid) => void reported.push(cid),
    log,
  });
  const any = new AnyBlocks({ client, view, ask, fetchBlock, log }, { signal });
  const readerOf = ({
    signal: wanted = signal,
    isLocalOnly = false,
    isPinned = false,
  }: {
    signal?: AbortSignal;
    isLocalOnly?: boolean;
    isPinned?: boolean;
  } = {}) => any.open({ client: 'a', signal: wanted, isLocalOnly, isPinned });
  return { readerOf, reader: readerOf(), asked, fetched, reported, registry };
}

describe('a block of the swarm', () => {
  it('comes from our own storage, and nobody else is asked', async () => {
    const { reader, asked, fetched, registry } = rig({ [SELF]: [CID], [peerOf(1)]: [CID] });
    const { bytes } = await reader.fetch(CID);
    expect(bytes.equals(BYTES)).toBe(true);
    expect([asked, fetched]).toEqual([[], []]);
    const text = await registry.metrics();
    expect(text).toContain('blocks_fetched_total{source="own",outcome="verified"} 1');
    expect(text).toContain(`fetched_bytes_total{source="own"} ${BYTES.length}`);
  });

  it('comes from the members that confirm it, and from no other', async () => {
    const { reader, fetched } = rig({ [peerOf(2)]: [CID] });
    await reader.fetch(CID);
    expect(fetched).toEqual([[peerOf(2)]]);
  });

  it('is 404 when nobody has it, and the answer is remembered for a moment', async () => {
    const { reader, asked } = rig({});
    for (const _ of [1, 2])
      await expect(reader.fetch(CID)).rejects.toMatchObject({
        type: 'problems/block-absent',
        status: 404,
        fields: { peersAsked: 3 },
      });
    expect(asked).toHaveLength(2); // the two others, once
  });

  it('is 404 soon also when a member hangs or refuses', async () => {
    const startedAtMs = performance.now();
    const members: PaperMember[] = [{}, {}, { state: 'suspect' }];
    const { reader } = rig({}, { members, refuses: [peerOf(1)], hangs: [] });
    await expect(reader.fetch(CID)).rejects.toMatchObject({ status: 404 });
    expect(performance.now() - startedAtMs).toBeLessThan(2000);
  });

  it('does not wait for a member that hangs once another one has it', async () => {
    const { reader, fetched } = rig({ [peerOf(1)]: [CID] }, { hangs: [peerOf(2)] });
    await reader.fetch(CID);
    expect(fetched).toEqual([[peerOf(1)]]);
  });

  it('is unavailable, not absent, when who confirmed it fails', async () => {
    const { reader } = rig({ [peerOf(1)]: [CID] }, { refuses: [`bytes of ${peerOf(1)}`] });
    await expect(reader.fetch(CID)).rejects.toMatchObject({ status: 503 });
  });

  it('that is damaged here is reported, and comes from elsewhere', async () => {
    const ownBytes = Buffer.from('another');
    const { reader, reported, fetched, registry } = rig(
      { [SELF]: [CID], [peerOf(1)]: [CID] },
      { ownBytes },
    );
    await reader.fetch(CID);
    expect(reported).toEqual([CID]);
    expect(fetched).toEqual([[peerOf(1)]]);
    expect(await registry.metrics()).toContain('corrupt_blocks_total{source="own"} 1');
  });

  it('is not asked of others when only what is here counts', async () => {
    const { readerOf, asked } = rig({ [peerOf(1)]: [CID] });
    const reader = readerOf({ isLocalOnly: true });
    await expect(reader.fetch(CID)).rejects.toThrow(NotCached);
    expect(await reader.getNodeHere(CID)).toBeUndefined();
    expect(asked).toEqual([]);
  });

  it('of a pinned DAG is looked for again', async () => {
    const holders: Record<string, Cid[]> = {};
    const { readerOf, asked } = rig(holders);
    const reader = readerOf({ isPinned: true });
    const fetching = reader.fetch(CID, { holders: Promise.resolve([]) });
    holders[peerOf(1)] = [CID];
    expect((await fetching).bytes.equals(BYTES)).toBe(true);
    expect(asked.length).toBeGreaterThan(0);
  });

  it('ends with its reader', async () => {
    const leaver = new AbortController();
    const { readerOf } = rig({}, { hangs: [peerOf(1)] });
    const fetching = readerOf({ signal: leaver.signal }).fetch(CID);
    leaver.abort(new Error('left'));
    await expect(fetching).rejects.toThrow('left');
  });

  it('is asked for together with others of the same moment, ourselves first', async () => {
    const cids = Array.from({ length: 100 }, (_, n) => hashBlock('raw', Buffer.from(`${n}`)));
    const { reader, asked } = rig({ [SELF]: cids.slice(0, 90), [peerOf(1)]: cids.slice(90) });
    const found = await Promise.all(cids.map((cid) => reader.locate(cid)));
    expect(found.map((members) => members.map(({ peerId }) => peerId))).toEqual([
      ...cids.slice(0, 90).map(() => [peerOf(0)]),
      ...cids.slice(90).map(() => [peerOf(1)]),
    ]);
    expect(asked.map(({ to, cids: { length } }) => [to, length])).toEqual([
      [SELF, 64],
      [SELF, 36],
      [peerOf(1), 10],
      [peerOf(2), 10],
    ]);
  });
});
