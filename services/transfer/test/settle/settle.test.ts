import { describe, expect, it, jest } from '@jest/globals';
import {
  createBits,
  createDagBuilder,
  encodeBits,
  hashBlock,
  partitionOf,
  setBit,
} from '@shoal/blocks';
import { createLog, type PeerClient, type Target, createTokenBucket } from '@shoal/chassis';
import {
  type Cid,
  discoveryRoutes,
  FileNotFound,
  type Member,
  type PeerId,
  type Pin,
  StorageFull,
  storageRoutes,
} from '@shoal/protocol';
import { createPlacement } from '@shoal/swarm';
import fc from 'fast-check';
import { Registry } from 'prom-client';
import type { ListedDag } from '../../src/fetch/listed-blocks.ts';
import { CopyProofs } from '../../src/copies/copy-proofs.ts';
import { createIncoming } from '../../src/copies/incoming.ts';
import type { MemberView } from '../../src/peers/member-view.ts';
import { createMetrics } from '../../src/metrics.ts';
import { createRepairs } from '../../src/copies/repairs.ts';
import { settle } from '../../src/settle/settle.ts';

const signal = AbortSignal.timeout(60_000);
const id = (index: number) => `peer-${index}` as PeerId; // nothing here parses it

/** What each peer's storage holds, and which of it is retired: enough of storage to settle against. */
interface Shelf {
  readonly held: Set<Cid>;
  readonly retired: Set<Cid>;
  /** What only an unfinished upload holds there. */
  readonly leased: Set<Cid>;
}

/** A swarm on paper: the storages are sets, the calls between peers are real calls of `settle`. */
function paperSwarm(peers: number, leaves: number, replicas: number) {
  const shelves = Array.from({ length: peers }, (): Shelf => ({
    held: new Set(),
    retired: new Set(),
    leased: new Set(),
  }));
  const builder = createDagBuilder();
  const blocks = new Map<Cid, Uint8Array>();
  for (let index = 0; index < leaves; index += 1) {
    const bytes = Buffer.from(`leaf ${index}`);
    const cid = hashBlock('raw', bytes);
    blocks.set(cid, bytes);
    builder.addLeaf({ cid, sizeBytes: bytes.length });
  }
  const { root, nodes, blocks: count, sizeBytes } = builder.finish();
  for (const { cid, bytes } of nodes) blocks.set(cid, bytes);
  const pin = { root, replicas, sizeBytes, blocks: count, clock: 1, deleted: false } as Pin;
  const state = new Map<PeerId, Member['state']>();
  const draining = new Set<PeerId>();
  const full = new Set<PeerId>();
  /** Who says yes to everything, and proves nothing. */
  const liars = new Set<PeerId>();
  const distrusted = new Set<PeerId>();
  /** Who was told of to discovery. */
  const accused = new Set<PeerId>();
  let refusals = 0;
  /** Of each copy that was put, whether it takes room from nothing else. */
  const yielding: boolean[] = [];
  const viewOf = (self: number): MemberView => {
    const members = shelves.map((_, index) => {
      const peerId = id(index);
      const domain = { host: `h${index}`, disk: '1' };
      return {
        peerId,
        capacityBytes: 1,
        domain,
        isSelf: index === self,
        state: state.get(peerId) ?? 'alive',
        draining: draining.has(peerId),
        isDistrusted: distrusted.has(peerId),
        http: { storage: peerId },
      };
    }) as unknown as Member[]; // the parts of a member that settling reads
    const order = createPlacement(
      members.filter((member) => member.state !== 'out' && !member.draining),
    );
    return {
      self: id(self),
      isKnown: () => true,
      get: (peerId) => members.find((member) => member.peerId === peerId),
      asked: () => members.filter((member) => member.state === 'alive'),
      placement: order,
      placedSet: () => 'all',
      onChange: () => undefined,
      [Symbol.asyncDispose]: async () => undefined,
    };
  };
  const entries = [...blocks.keys()];
  /** Hooks a test's interference into the moments between the calls. */
  let between: () => Promise<void> = async () => undefined;
  const clientOf = (self: number): PeerClient => {
    const call = async (target: Target, route: unknown, args: Record<string, unknown>) => {
      await between();
      const shelf = shelves[Number(String(target.origin).split('-')[1] ?? self)];
      if (shelf === undefined) throw new Error('no such peer');
      const { cids = [], holder = '' } = (args['body'] ?? {}) as { cids?: Cid[]; holder?: string };
      const proof = (by: string, cid: Cid) => `${by} proves ${cid}`;
      const query = (args['query'] ?? {}) as Record<string, unknown>;
      const bits = (has: (cid: Cid) => boolean) => {
        const set = createBits(cids.length);
        cids.forEach((cid, index) => has(cid) && setBit(set, index));
        return { bits: encodeBits(set) };
      };
      const confirms = (cid: Cid) => shelf.held.has(cid) && !shelf.retired.has(cid);
      switch (route) {
        case discoveryRoutes.getPin:
          if (pin.deleted && !(pin.deletedAtMs !== undefined && query['deleted'] === 'true'))
            throw new FileNotFound({ hash: root, peersAsked: 0 });
          return pin;
        case discoveryRoutes.announce:
          return {};
        case storageRoutes.keepDag:
          return { keptBlocks: 0 };
        case storageRoutes.haveMap: {
          const order = listed();
          const set = createBits(order.length);
          order.forEach((cid, index) => confirms(cid) && setBit(set, index));
          return { root, blocks: order.length, bits: encodeBits(set) };
        }
        case storageRoutes.haveBlocks:
          return bits(
            (cid) => confirms(cid) && !(query['forGood'] === 'true' && shelf.leased.has(cid)),
          );
        case storageRoutes.expectProofs:
          return { proofs: cids.map((cid) => (shelf.held.has(cid) ? proof(holder, cid) : '')) };
        case storageRoutes.proveBlocks: {
          const peerId = id(shelves.indexOf(shelf));
          const has = (cid: Cid) =>
            confirms(cid) && !(query['forGood'] === 'true' && shelf.leased.has(cid));
          // Whoever lies says something: it has the form of a proof.
          if (liars.has(peerId)) return { proofs: cids.map((cid) => proof('nobody', cid)) };
          return { proofs: cids.map((cid) => (has(cid) ? proof(peerId, cid) : '')) };
        }
        case storageRoutes.checkBlock:
          return { state: 'sound' };
        case discoveryRoutes.noteProofs: {
          const { reports } = args['body'] as { reports: { peerId: PeerId; failed: Cid[] }[] };
          for (const { peerId, failed } of reports) if (failed.length > 0) accused.add(peerId);
          return {};
        }
        case storageRoutes.retireBlocks: {
          const answer = bits((cid) => shelf.held.has(cid));
          for (const cid of cids) if (shelf.held.has(cid)) shelf.retired.add(cid);
          return answer;
        }
        case storageRoutes.unretireBlocks:
          for (const cid of cids) shelf.retired.delete(cid);
          return {};
        case storageRoutes.dropBlocks: {
          const dropped = cids.filter((cid) => shelf.retired.has(cid) && shelf.held.delete(cid));
          for (const cid of cids) shelf.retired.delete(cid);
          return { droppedBlocks: dropped.length };
        }
        default:
          throw new Error('a call that settling does not make');
      }
    };
    return {
      own: (service) => ({ peerId: id(self), origin: service === 'storage' ? id(self) : service }),
      call: ((target: Target, route: unknown, args: Record<string, unknown>) =>
        call(
          { ...target, origin: target.origin.startsWith('peer-') ? target.origin : id(self) },
          route,
          args,
        )) as PeerClient['call'],
      send: (async (
        _: Target,
        __: unknown,
        { params, query }: { params: { cid: Cid }; query: { yields?: string } },
      ) => {
        yielding.push(query.yields === 'true');
        if (full.has(id(self))) {
          refusals += 1;
          throw new StorageFull({ limit: 'storage capacity', freeBytes: 0 });
        }
        shelves[self]?.held.add(params.cid);
        shelves[self]?.retired.delete(params.cid);
      }) as unknown as PeerClient['send'],
      receive: async () => undefined,
      [Symbol.asyncDispose]: async () => undefined,
    };
  };
  const listed = () => [root, ...entries.filter((cid) => cid !== root)];
  const dag: ListedDag = {
    async fetch({ cid }) {
      const bytes = blocks.get(cid);
      const isHeld = shelves.some(
        ({ held }, index) => held.has(cid) && state.get(id(index)) !== 'down',
      );
      if (bytes === undefined || !isHeld) throw new Error(`nobody has ${cid}`);
      return { bytes: Buffer.from(bytes), release: () => undefined };
    },
    learn: async () => undefined,
    countHolders: () => 1,
    [Symbol.dispose]: () => undefined,
  };
  const metrics = createMetrics(new Registry());
  const log = createLog('test', 'silent');
  const bucket = createTokenBucket({ ratePerSecond: 0, nowMs: () => 0 });
  const asking: CopyProofs[] = [];
  const settleAt = (self: number) => {
    const client = clientOf(self);
    const proofs = new CopyProofs({ client, self: id(self), metrics, log });
    asking.push(proofs);
    return settle(
      root,
      {
        client,
        view: viewOf(self),
        listed: { open: () => dag },
        manifests: {
          list: async () =>
            listed().map((cid, index) => ({
              cid,
              kind: cid === root && leaves > 1 ? 'node' : 'leaf',
              sizeBytes: blocks.get(cid)?.length ?? 0,
              offset: index,
            })),
        },
        metrics,
        log,
        proofs,
        repairs: createRepairs({
          client,
          incoming: createIncoming(),
          bucket,
          blocksMax: 4,
          metrics,
          log,
        }),
      },
      { signal },
    );
  };
  return {
    shelves,
    blocks,
    root,
    pin,
    state,
    draining,
    full,
    liars,
    distrusted,
    accused,
    refusals: () => refusals,
    yielding,
    settleAt,
    /** What was found by the proofs so far is told to discovery. */
    report: () => Promise.all(asking.map((proofs) => proofs[Symbol.asyncDispose]())),
    copies: (cid: Cid) => shelves.filter(({ held }) => held.has(cid)).length,
    placedAt: (cid: Cid) =>
      viewOf(0)
        .placement(partitionOf(cid))
        .slice(0, replicas)
        .map(({ peerId }) => peerId),
    interfere: (hook: () => Promise<void>) => {
      between = hook;
    },
  };
}

const SETTLED = { isSettled: true, copiedBlocks: 0, droppedBlocks: 0 };

describe('settle', () => {
  it('ends with each leaf at its placed peers and nowhere else, the manifest everywhere', async () => {
    const swarm = paperSwarm(5, 40, 3);
    for (const cid of swarm.blocks.keys()) swarm.shelves[0]?.held.add(cid);
    for (let round = 0; round < 2; round += 1)
      for (let peer = 0; peer < 5; peer += 1) await swarm.settleAt(peer);
    for (const cid of swarm.blocks.keys()) {
      const holders = swarm.shelves.flatMap(({ held }, index) =>
        held.has(cid) ? [id(index)] : [],
      );
      const expected = cid === swarm.root ? [0, 1, 2, 3, 4].map(id) : swarm.placedAt(cid);
      expect(holders.toSorted()).toEqual(expected.toSorted());
    }
    expect(await swarm.settleAt(0)).toMatchObject(SETTLED);
  });

  it('drops nothing while one placed peer does not confirm', async () => {
    const swarm = paperSwarm(5, 40, 3);
    for (const { held } of swarm.shelves) for (const cid of swarm.blocks.keys()) held.add(cid);
    swarm.state.set(id(3), 'down');
    const own = swarm.shelves[0]?.held;
    const silent = new Set<Cid>();
    const retire = jest.spyOn(swarm.shelves[0]?.retired ?? silent, 'add');
    const { droppedBlocks, isSettled } = await swarm.settleAt(0);
    expect(isSettled).toBe(false);
    // What stays counted as a copy all the time.
    for (const [cid] of retire.mock.calls) silent.add(cid);
    expect([...silent].filter((cid) => own?.has(cid))).toEqual([]);
    for (const cid of swarm.blocks.keys()) {
      const mayBeDropped =
        !swarm.placedAt(cid).includes(id(0)) &&
        !swarm.placedAt(cid).includes(id(3)) &&
        cid !== swarm.root;
      expect(swarm.shelves[0]?.held.has(cid)).toBe(!mayBeDropped);
    }
    expect(droppedBlocks).toBeGreaterThan(0);
    expect(swarm.shelves[0]?.retired.size).toBe(0); // what is kept is confirmed to others again
  });

  it('drops nothing that a placed peer holds for an unfinished upload alone', async () => {
    const swarm = paperSwarm(5, 40, 3);
    for (const { held } of swarm.shelves) for (const cid of swarm.blocks.keys()) held.add(cid);
    const surplus = [...swarm.blocks.keys()].filter(
      (cid) => cid !== swarm.root && !swarm.placedAt(cid).includes(id(0)),
    );
    for (const cid of surplus) swarm.shelves[3]?.leased.add(cid);
    expect((await swarm.settleAt(0)).isSettled).toBe(false);
    for (const cid of surplus)
      expect(swarm.shelves[0]?.held.has(cid)).toBe(swarm.placedAt(cid).includes(id(3)));
    for (const { leased } of swarm.shelves) leased.clear(); // the upload ended well
    expect((await swarm.settleAt(0)).isSettled).toBe(true);
    for (const cid of surplus) expect(swarm.shelves[0]?.held.has(cid)).toBe(false);
  });

  it('drops nothing that peers say they hold and can’t prove, and tells of them', async () => {
    const swarm = paperSwarm(5, 40, 3);
    const honest = [0, 3, 4];
    for (const peer of [1, 2]) swarm.liars.add(id(peer));
    for (const cid of swarm.blocks.keys()) swarm.shelves[0]?.held.add(cid);
    const kept = (cid: Cid) => honest.filter((peer) => swarm.shelves[peer]?.held.has(cid)).length;
    for (let round = 0; round < 3; round += 1)
      for (const peer of honest) await swarm.settleAt(peer);
    // With two liars of five, each of three copies may lie with one honest peer alone.
    for (const cid of swarm.blocks.keys()) expect(kept(cid)).toBeGreaterThan(0);
    const atLiars = [...swarm.blocks.keys()].filter((cid) =>
      swarm.placedAt(cid).some((peerId) => swarm.liars.has(peerId)),
    );
    for (const cid of atLiars) expect(swarm.shelves[0]?.held.has(cid)).toBe(true);
    await swarm.report();
    expect(swarm.accused).toEqual(swarm.liars);
  });

  it('makes the copies of distrusted peers anew, at the next in the order, and takes them home later', async () => {
    const swarm = paperSwarm(5, 40, 3);
    for (const cid of swarm.blocks.keys()) swarm.shelves[0]?.held.add(cid);
    for (const peer of [1, 2]) {
      swarm.liars.add(id(peer));
      swarm.distrusted.add(id(peer));
    }
    for (let round = 0; round < 2; round += 1)
      for (const peer of [0, 3, 4])
        expect(await swarm.settleAt(peer)).toMatchObject({ droppedBlocks: 0 });
    for (const cid of swarm.blocks.keys()) expect(swarm.copies(cid)).toBe(3);
    for (const peer of [0, 3, 4]) expect(swarm.shelves[peer]?.held.size).toBe(41);

    swarm.liars.clear();
    swarm.distrusted.clear();
    for (let round = 0; round < 2; round += 1)
      for (const peer of [0, 1, 2, 3, 4]) await swarm.settleAt(peer);
    for (const cid of [...swarm.blocks.keys()].filter((each) => each !== swarm.root)) {
      const holders = swarm.shelves.flatMap(({ held }, peer) => (held.has(cid) ? [id(peer)] : []));
      expect(holders.toSorted()).toEqual(swarm.placedAt(cid).toSorted());
    }
  });

  it('copies nothing for a peer that is down but not out', async () => {
    const swarm = paperSwarm(5, 40, 3);
    for (const cid of swarm.blocks.keys()) swarm.shelves[0]?.held.add(cid);
    for (let round = 0; round < 2; round += 1)
      for (let peer = 0; peer < 5; peer += 1) await swarm.settleAt(peer);
    swarm.state.set(id(2), 'down');
    for (const peer of [0, 1, 3, 4])
      expect(await swarm.settleAt(peer)).toMatchObject({ copiedBlocks: 0, droppedBlocks: 0 });
    swarm.state.set(id(2), 'out');
    let copied = 0;
    for (const peer of [0, 1, 3, 4]) copied += (await swarm.settleAt(peer)).copiedBlocks;
    expect(copied).toBeGreaterThan(0);
  });

  it('never loses a copy that is needed, whoever settles at once and whatever they see', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.scheduler(),
        fc.array(fc.nat(4), { minLength: 2, maxLength: 8 }),
        fc.array(fc.tuple(fc.nat(4), fc.nat(11)), { maxLength: 40 }),
        fc.option(fc.nat(4)),
        fc.option(fc.nat(4)),
        async (scheduler, settlers, extra, lost, leaver) => {
          const swarm = paperSwarm(5, 12, 2);
          const cids = [...swarm.blocks.keys()];
          for (const cid of cids) swarm.shelves[0]?.held.add(cid);
          for (const [peer, block] of extra) {
            const cid = cids[block];
            if (cid !== undefined) swarm.shelves[peer]?.held.add(cid);
          }
          if (lost !== null) swarm.state.set(id(lost), 'suspect'); // a view in which one is doubted
          if (leaver !== null) swarm.draining.add(id(leaver));
          const before = new Map(cids.map((cid) => [cid, swarm.copies(cid)]));
          swarm.interfere(() => scheduler.schedule(Promise.resolve()));
          const all = Promise.allSettled(settlers.map((peer) => swarm.settleAt(peer)));
          await scheduler.waitFor(all);
          for (const cid of cids) {
            const needed = Math.min(swarm.pin.replicas, before.get(cid) ?? 0);
            expect(swarm.copies(cid)).toBeGreaterThanOrEqual(needed);
          }
        },
      ),
      { seed: 20261122, numRuns: 200 },
    );
  });

  it('leaves alone what is no longer pinned', async () => {
    const swarm = paperSwarm(3, 4, 2);
    swarm.pin.deleted = true;
    expect(await swarm.settleAt(1)).toMatchObject(SETTLED);
    expect(swarm.shelves[1]?.held.size).toBe(0);
  });

  it('keeps a deleted file whole while it can be brought back, at the cost of nothing else', async () => {
    const swarm = paperSwarm(3, 4, 3);
    for (const cid of swarm.blocks.keys()) swarm.shelves[0]?.held.add(cid);
    await swarm.settleAt(1);
    Object.assign(swarm.pin, { deleted: true, deletedAtMs: 1 });
    const before = swarm.yielding.length;
    for (const peer of [0, 1, 2]) await swarm.settleAt(peer);
    for (const cid of swarm.blocks.keys()) expect(swarm.copies(cid)).toBe(3);
    expect(new Set(swarm.yielding.slice(0, before))).toEqual(new Set([false]));
    expect(new Set(swarm.yielding.slice(before))).toEqual(new Set([true]));
  });

  it('hands over every leaf of a peer that drains, and drops them only then', async () => {
    const swarm = paperSwarm(4, 40, 3);
    for (const { held } of swarm.shelves) for (const cid of swarm.blocks.keys()) held.add(cid);
    for (let peer = 0; peer < 4; peer += 1) await swarm.settleAt(peer);
    swarm.draining.add(id(2));
    const early = await swarm.settleAt(2); // the others have not copied yet
    expect(early.isSettled).toBe(false);
    for (const cid of swarm.blocks.keys()) expect(swarm.copies(cid)).toBeGreaterThanOrEqual(3);
    for (const peer of [0, 1, 3]) await swarm.settleAt(peer);
    expect(await swarm.settleAt(2)).toMatchObject({ isSettled: true });
    expect([...(swarm.shelves[2]?.held ?? [])]).toEqual([swarm.root]);
    for (const cid of swarm.blocks.keys()) expect(swarm.copies(cid)).toBeGreaterThanOrEqual(3);
  });

  it('in a swarm smaller than the replicas, a peer that drains needs all others, and one at least', async () => {
    const swarm = paperSwarm(2, 8, 3);
    for (const cid of swarm.blocks.keys()) swarm.shelves[0]?.held.add(cid);
    swarm.draining.add(id(0));
    expect(await swarm.settleAt(0)).toMatchObject({ isSettled: false, droppedBlocks: 0 });
    await swarm.settleAt(1);
    expect(await swarm.settleAt(0)).toMatchObject({ isSettled: true, droppedBlocks: 8 });

    const alone = paperSwarm(1, 8, 3);
    for (const cid of alone.blocks.keys()) alone.shelves[0]?.held.add(cid);
    alone.draining.add(id(0));
    expect(await alone.settleAt(0)).toMatchObject({ isSettled: false, droppedBlocks: 0 });
  });

  it('remembers, while draining, blocks that a drop cut short left silent', async () => {
    const swarm = paperSwarm(4, 12, 3);
    for (const cid of swarm.blocks.keys()) {
      swarm.shelves[0]?.held.add(cid);
      if (cid !== swarm.root) swarm.shelves[0]?.retired.add(cid);
    }
    swarm.draining.add(id(0));
    expect(await swarm.settleAt(0)).toMatchObject({ isSettled: false, droppedBlocks: 0 });
    expect(swarm.shelves[0]?.retired.size).toBe(0);
  });

  it('stops at the first refusal of a full storage, and is not settled', async () => {
    const swarm = paperSwarm(3, 100, 3);
    for (const cid of swarm.blocks.keys()) swarm.shelves[0]?.held.add(cid);
    swarm.full.add(id(1));
    expect(await swarm.settleAt(1)).toMatchObject({ isSettled: false, copiedBlocks: 0 });
    expect(swarm.refusals()).toBeLessThanOrEqual(4); // those that were under way
    swarm.full.delete(id(1));
    expect(await swarm.settleAt(1)).toMatchObject({ isSettled: true, copiedBlocks: 101 });
  });
});
