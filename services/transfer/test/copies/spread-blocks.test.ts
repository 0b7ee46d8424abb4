import { describe, expect, it } from '@jest/globals';
import { hashBlock, partitionOf, proveWhole } from '@shoal/blocks';
import { createLog } from '@shoal/chassis';
import {
  type Cid,
  CIDS_PER_BATCH_MAX,
  decodeFrames,
  Lease,
  storageRoutes,
  transferRoutes,
} from '@shoal/protocol';
import { createPlacement } from '@shoal/swarm';
import { Registry } from 'prom-client';
import { CopyProofs } from '../../src/copies/copy-proofs.ts';
import { ReleasedLeases } from '../../src/copies/end-leases.ts';
import { type SentBlock } from '../../src/copies/sent-blocks.ts';
import { spreadBlocks } from '../../src/copies/spread-blocks.ts';
import { createMetrics } from '../../src/metrics.ts';
import { paperClient, type PaperCall, type PaperMember, paperView, peerOf } from '../paper.ts';

const FIVE: PaperMember[] = [{}, {}, {}, {}, {}];
const { signal } = new AbortController();
const blockOf = (text: string): SentBlock => {
  const bytes = Buffer.from(text);
  return { cid: hashBlock('raw', bytes), bytes };
};

/** How a peer answers blocks that it is handed. */
type Manner = 'takes' | 'refuses' | 'lies' | 'hangs';

/** Five peers, each with what it was given. */
function swarmOf(manners: Readonly<Record<string, Manner>> = {}, members = FIVE) {
  const stored = new Map<string, Set<Cid>>();
  const calls: string[] = [];
  const queries: Record<string, unknown>[] = [];
  const ended: string[] = [];
  const store = (to: string, bytes: Uint8Array): Cid[] => {
    const held = stored.get(to) ?? new Set();
    stored.set(to, held);
    return decodeFrames(bytes).map((frame) => {
      const cid = hashBlock(frame.codec, frame.bytes);
      held.add(cid);
      return cid;
    });
  };
  const bytesOf = (call: PaperCall) => (call as PaperCall & { bytes: Uint8Array }).bytes;
  const client = paperClient([
    [
      storageRoutes.addBlocks,
      (call) => {
        calls.push('own');
        queries.push(call.query);
        return { blocks: store('own', bytesOf(call)).map((cid) => ({ cid })) };
      },
    ],
    [
      transferRoutes.takeBlocks,
      async (call) => {
        calls.push(call.to);
        queries.push(call.query);
        const manner = manners[call.to] ?? 'takes';
        if (manner === 'refuses') throw new Error('full');
        if (manner === 'hangs') await call.gone;
        const nonce = String(call.query['nonce']);
        const challenge = { nonce, asker: peerOf(0), holder: call.to as ReturnType<typeof peerOf> };
        const frames = decodeFrames(bytesOf(call));
        const proofs = frames.map(({ codec, bytes }) => {
          const cid = hashBlock(codec, bytes);
          return proveWhole({ ...challenge, cid }, manner === 'lies' ? Buffer.from('?') : bytes);
        });
        return { cids: store(call.to, bytesOf(call)), proofs };
      },
    ],
    [storageRoutes.haveBlocks, () => ({ bits: 'gA' })],
    [storageRoutes.endLease, ({ query }) => (ended.push(`${query['keep']}`), { deletedBlocks: 0 })],
  ]);
  const { view } = paperView(members);
  const log = createLog('test', 'silent');
  const metrics = createMetrics(new Registry());
  const released = new ReleasedLeases();
  const proofs = new CopyProofs({ client, self: peerOf(0), metrics, log });
  const deps = { client, view, proofs, released, metrics, log };
  return {
    calls,
    queries,
    ended,
    released,
    stored,
    holdersOf: (cid: Cid) => [...stored].filter(([, held]) => held.has(cid)).map(([name]) => name),
    /** The three peers that the block belongs to; `own` for ourselves. */
    placed: (cid: Cid) =>
      createPlacement([...view.asked()])(partitionOf(cid))
        .slice(0, 3)
        .map(({ isSelf, peerId }) => (isSelf ? 'own' : peerId)),
    spread: (blocks: readonly SentBlock[], copies = 3, lease?: Lease) =>
      spreadBlocks(blocks, { replicas: 3, copies, lease }, deps, { signal }),
  };
}

/** A block that belongs to us, or not. */
const blockThat = (isOurs: boolean): SentBlock => {
  const { placed } = swarmOf();
  for (let index = 0; ; index += 1) {
    const block = blockOf(`block ${index}`);
    if (placed(block.cid).includes('own') === isOurs) return block;
  }
};

describe('small blocks under a lease', () => {
  const lease = Lease.parse('5d8bd1a8-9c4f-4c5c-8c7d-0d3c5a0ae0a1');

  it('are held by it at each peer, marked for no pin, and keep their codec', async () => {
    const swarm = swarmOf();
    const bytes = Buffer.from([]); // an empty DAG-PB node
    const node = { cid: hashBlock('dag-pb', bytes), bytes };
    expect(await swarm.spread([node, blockOf('a')], 3, lease)).toEqual([
      { cid: node.cid, copies: 3 },
      { cid: blockOf('a').cid, copies: 3 },
    ]);
    expect(swarm.queries.length).toBeGreaterThan(2);
    for (const query of swarm.queries) expect(query['lease']).toBe(lease);
    const own = swarm.queries.filter((_, at) => swarm.calls[at] === 'own');
    for (const query of own) expect(query).not.toHaveProperty('replicas');
  });

  it('go to a peer in several calls when they are many', async () => {
    const swarm = swarmOf();
    const blocks = Array.from({ length: 200 }, (_, index) => blockOf(`file ${index}`));
    const spread = await swarm.spread(blocks, 3, lease);
    expect(spread.every(({ copies }) => copies === 3)).toBe(true);
    for (const [name, held] of swarm.stored)
      expect(swarm.calls.filter((to) => to === name)).toHaveLength(
        name === 'own' ? 1 : Math.ceil(held.size / CIDS_PER_BATCH_MAX),
      );
  });

  it('are let go here when the upload ended before they were stored', async () => {
    const swarm = swarmOf();
    swarm.released.note(lease, false);
    await swarm.spread([blockThat(true)], 3, lease);
    expect(swarm.ended).toEqual(['false']);
  });
});

describe('small blocks', () => {
  it('go to the peers that placement names, one call to each, and nowhere else', async () => {
    const swarm = swarmOf();
    const blocks = Array.from({ length: 32 }, (_, index) => blockOf(`file ${index}`));
    const spread = await swarm.spread(blocks);
    expect(spread).toEqual(blocks.map(({ cid }) => ({ cid, copies: 3 })));
    for (const { cid } of blocks)
      expect(swarm.holdersOf(cid).toSorted()).toEqual(swarm.placed(cid).toSorted());
    expect(swarm.calls.toSorted()).toEqual(['own', 'peer-1', 'peer-2', 'peer-3', 'peer-4']);
  });

  it('are answered as soon as they have the copies that are waited for', async () => {
    const block = blockThat(true);
    const [, other = ''] = swarmOf()
      .placed(block.cid)
      .filter((name) => name !== 'own');
    const swarm = swarmOf({ [other]: 'hangs' });
    expect(await swarm.spread([block], 2)).toEqual([{ cid: block.cid, copies: 2 }]);
  });

  it('have a stand-in for a peer that refuses, and none counts that proves nothing', async () => {
    const block = blockThat(false);
    for (const manner of ['refuses', 'lies'] as const) {
      const [bad = ''] = swarmOf().placed(block.cid);
      const swarm = swarmOf({ [bad]: manner });
      expect(await swarm.spread([block])).toEqual([{ cid: block.cid, copies: 3 }]);
      const sound = swarm.holdersOf(block.cid).filter((name) => name !== bad);
      expect(sound).toHaveLength(3);
    }
  });

  it('are stored here when too few others take them', async () => {
    const block = blockThat(false);
    const refuse = (from: number) =>
      Object.fromEntries([1, 2, 3, 4].slice(from).map((index) => [peerOf(index), 'refuses']));
    const swarm = swarmOf(refuse(1) as Record<string, Manner>);
    expect(await swarm.spread([block])).toEqual([{ cid: block.cid, copies: 2 }]);
    expect(swarm.holdersOf(block.cid).toSorted()).toEqual(['own', 'peer-1']);
    const alone = swarmOf(refuse(0) as Record<string, Manner>);
    expect(await alone.spread([block])).toEqual([{ cid: block.cid, copies: 1 }]);
  });

  it('are stored here while a caller waits for peers that hang', async () => {
    const block = blockThat(false);
    const [first = '', second = ''] = swarmOf().placed(block.cid);
    const swarm = swarmOf({ [first]: 'hangs', [second]: 'hangs' });
    expect(await swarm.spread([block], 2)).toEqual([{ cid: block.cid, copies: 2 }]);
    expect(swarm.holdersOf(block.cid)).toContain('own');
  });

  it('of which two are the same are stored once', async () => {
    const swarm = swarmOf();
    const block = blockThat(true);
    expect(await swarm.spread([block, block])).toEqual([
      { cid: block.cid, copies: 3 },
      { cid: block.cid, copies: 3 },
    ]);
    expect(swarm.calls.filter((to) => to === 'own')).toHaveLength(1);
  });
});
