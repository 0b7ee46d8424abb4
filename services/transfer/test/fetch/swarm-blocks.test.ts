import { describe, expect, it } from '@jest/globals';
import { hashBlock } from '@shoal/blocks';
import { createBufferPool, createLog, type PeerClient } from '@shoal/chassis';
import { BlockUnavailable, type Cid, type Member, storageRoutes } from '@shoal/protocol';
import type { BlockSource } from '../../src/fetch/listed-blocks.ts';
import { createFindBlock } from '../../src/fetch/swarm-blocks.ts';
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
  const source = {
    fetchFrom: async (cid: Cid, from: readonly Member[]) => {
      fetched.push(from.map(({ peerId }) => peerId));
      if (from.every(({ peerId }) => refuses.includes(`bytes of ${peerId}`)))
        throw new BlockUnavailable({ cid, providersTried: from.length });
      return { bytes: BYTES, release: () => {} };
    },
  } as unknown as BlockSource; // the part of it that is used here
  const { view } = paperView(members);
  const blocks = createFindBlock(
    {
      client,
      view,
      source,
      pool: createBufferPool(1024, 4),
      reportCorrupt: (_, cid) => void reported.push(cid),
      stallMs: 1000,
      timeoutMs: 1000,
      log: createLog('transfer', 'silent'),
    },
    { signal },
  );
  return { blocks, asked, fetched, reported };
}

describe('a block of the swarm', () => {
  it('comes from our own storage, and nobody else is asked', async () => {
    const { blocks, asked, fetched } = rig({ [SELF]: [CID], [peerOf(1)]: [CID] });
    const { bytes } = await blocks.get(CID, { client: 'a', signal });
    expect(bytes.equals(BYTES)).toBe(true);
    expect([asked, fetched]).toEqual([[], []]);
  });

  it('comes from the members that confirm it, and from no other', async () => {
    const { blocks, fetched } = rig({ [peerOf(2)]: [CID] });
    await blocks.get(CID, { client: 'a', signal });
    expect(fetched).toEqual([[peerOf(2)]]);
  });

  it('is 404 when nobody has it, and the answer is remembered for a moment', async () => {
    const { blocks, asked } = rig({});
    for (const _ of [1, 2])
      await expect(blocks.get(CID, { client: 'a', signal })).rejects.toMatchObject({
        type: 'problems/block-absent',
        status: 404,
        fields: { peersAsked: 3 },
      });
    expect(asked).toHaveLength(2); // the two others, once
  });

  it('is 404 soon also when a member hangs or refuses', async () => {
    const startedAtMs = performance.now();
    const members: PaperMember[] = [{}, {}, { state: 'suspect' }];
    const { blocks } = rig({}, { members, refuses: [peerOf(1)], hangs: [] });
    await expect(blocks.get(CID, { client: 'a', signal })).rejects.toMatchObject({ status: 404 });
    expect(performance.now() - startedAtMs).toBeLessThan(2000);
  });

  it('does not wait for a member that hangs once another one has it', async () => {
    const { blocks, fetched } = rig({ [peerOf(1)]: [CID] }, { hangs: [peerOf(2)] });
    await blocks.get(CID, { client: 'a', signal });
    expect(fetched).toEqual([[peerOf(1)]]);
  });

  it('is unavailable, not absent, when who confirmed it fails', async () => {
    const { blocks } = rig({ [peerOf(1)]: [CID] }, { refuses: [`bytes of ${peerOf(1)}`] });
    await expect(blocks.get(CID, { client: 'a', signal })).rejects.toMatchObject({ status: 503 });
  });

  it('that is damaged here is reported, and comes from elsewhere', async () => {
    const ownBytes = Buffer.from('another');
    const { blocks, reported, fetched } = rig({ [SELF]: [CID], [peerOf(1)]: [CID] }, { ownBytes });
    await blocks.get(CID, { client: 'a', signal });
    expect(reported).toEqual([CID]);
    expect(fetched).toEqual([[peerOf(1)]]);
  });

  it('is not asked of others when only what is here counts', async () => {
    const { blocks, asked } = rig({ [peerOf(1)]: [CID] });
    expect(await blocks.getHere(CID, { signal })).toBeUndefined();
    expect(asked).toEqual([]);
  });

  it('is looked for again, for as long as whoever needs it says', async () => {
    const holders: Record<string, Cid[]> = {};
    const { blocks, asked } = rig(holders);
    const fetching = blocks.fetch(CID, Promise.resolve([]), { retryForMs: 5000, signal });
    holders[peerOf(1)] = [CID];
    expect((await fetching).bytes.equals(BYTES)).toBe(true);
    expect(asked.length).toBeGreaterThan(0);
  });

  it('ends with its reader', async () => {
    const leaver = new AbortController();
    const { blocks } = rig({}, { hangs: [peerOf(1)] });
    const fetching = blocks.get(CID, { client: 'a', signal: leaver.signal });
    leaver.abort(new Error('left'));
    await expect(fetching).rejects.toThrow('left');
  });

  it('is asked for together with others of the same moment, ourselves first', async () => {
    const cids = Array.from({ length: 100 }, (_, n) => hashBlock('raw', Buffer.from(`${n}`)));
    const { blocks, asked } = rig({ [SELF]: cids.slice(0, 90), [peerOf(1)]: cids.slice(90) });
    const found = await Promise.all(cids.map((cid) => blocks.locate(cid)));
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
