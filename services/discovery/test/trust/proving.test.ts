import { afterEach, describe, expect, it } from '@jest/globals';
import { createBits, encodeBits, hashBlock, setBit } from '@shoal/blocks';
import { createLog, createLoops, type PeerClient, type Target } from '@shoal/chassis';
import {
  type BlockPlace,
  type Cid,
  type HaveMap,
  type Member,
  type PeerId,
  type Pin,
  ServiceUnavailable,
  storageRoutes,
} from '@shoal/protocol';
import { createHolders } from '../../src/holders/holders.ts';
import { createMetrics } from '../../src/metrics.ts';
import { createOpinions } from '../../src/trust/opinions.ts';
import { Proving } from '../../src/trust/proving.ts';

const { signal } = new AbortController();
const SELF = 'self' as PeerId; // nothing here parses it
const PEER = 'peer' as PeerId;
const FILES = 20;
const BLOCKS = 3;

const rootAt = (index: number) => hashBlock('raw', Buffer.from(`root ${index}`));
const blockAt = ({ root, index }: BlockPlace) => hashBlock('raw', Buffer.from(`${root} ${index}`));
const proofOf = (holder: string, cid: string, nonce: string) => `${holder} ${cid} ${nonce}`;

/** This peer, which holds all blocks of all files, and one other, which does what the test says. */
function paperPair() {
  const time = { nowMs: 0 };
  /** What the other says that it holds; and how it answers when it is to prove it. */
  const other: {
    claims: (place: BlockPlace) => boolean;
    prove: (cid: Cid) => 'proof' | 'garbage' | 'nothing' | 'silence';
  } = { claims: () => true, prove: () => 'proof' };
  /** Blocks of ours that are wrong on our disk. */
  const rotten = new Set<Cid>();
  /** Blocks that we dropped. */
  const dropped = new Set<Cid>();
  const told: Cid[] = [];
  const nonces = new Set<string>();
  let asked = 0;
  const mapOf = (root: Cid, has: (place: BlockPlace) => boolean): HaveMap | undefined => {
    const bits = createBits(BLOCKS);
    let count = 0;
    for (let index = 0; index < BLOCKS; index += 1)
      if (has({ root, index })) {
        setBit(bits, index);
        count += 1;
      }
    return count === 0 ? undefined : { root, blocks: BLOCKS, bits: encodeBits(bits) };
  };
  const answer = async (target: Target, route: unknown, args: Record<string, unknown>) => {
    const body = args['body'] as {
      places: BlockPlace[];
      cids: Cid[];
      nonce: string;
      holder: string;
    };
    const isOwn = target.peerId === SELF;
    switch (route) {
      case storageRoutes.nameBlocks:
        return { blocks: body.places.map((place) => ({ cid: blockAt(place) })) };
      case storageRoutes.expectProofs:
        nonces.add(body.nonce);
        return {
          proofs: body.cids.map((cid) => {
            if (dropped.has(cid)) return '';
            return rotten.has(cid) ? 'rotten' : proofOf(body.holder, cid, body.nonce);
          }),
        };
      case storageRoutes.proveBlocks:
        asked += body.cids.length;
        return {
          proofs: body.cids.map((cid) => {
            const how = other.prove(cid);
            if (how === 'silence') throw new ServiceUnavailable({ service: 'storage' });
            if (how === 'nothing') return '';
            return how === 'proof' ? proofOf(PEER, cid, body.nonce) : 'garbage';
          }),
        };
      case storageRoutes.checkBlock: {
        const { cid } = args['params'] as { cid: Cid };
        if (!isOwn) told.push(cid);
        return { state: isOwn && rotten.has(cid) ? 'corrupt' : 'sound' };
      }
      default:
        throw new Error('a call that the test does not know');
    }
  };
  const client: Pick<PeerClient, 'call' | 'own'> = {
    own: () => ({ peerId: SELF, origin: 'own' }),
    call: ((target: Target, route: unknown, args: Record<string, unknown>) =>
      answer(target, route, args)) as PeerClient['call'],
  };
  const holders = createHolders({ clock: () => time.nowMs });
  const metrics = createMetrics();
  const log = createLog('test', 'silent');
  let changes = 0;
  const opinions = createOpinions({
    clock: () => time.nowMs,
    wallTimeOf: (atMs) => atMs,
    outAfterMs: 60_000,
    metrics,
    log,
  });
  opinions.onChange(() => (changes += 1));
  const members = [
    { peerId: SELF, isSelf: true, state: 'alive' },
    { peerId: PEER, isSelf: false, state: 'alive', http: { storage: PEER } },
  ] as unknown as Member[]; // what is read of them
  const pins = Array.from({ length: FILES }, (_, index) => ({ root: rootAt(index) }) as Pin);
  const proving = new Proving({
    self: SELF,
    client: client as PeerClient, // the calls that it makes
    holders,
    opinions,
    refresh: async (roots) => {
      for (const root of roots.own)
        holders.note(
          root,
          SELF,
          mapOf(root, () => true),
        );
      for (const root of roots.members)
        holders.note(
          root,
          PEER,
          mapOf(root, (place) => other.claims(place)),
        );
    },
    members: () => members,
    page: (after, limit) => {
      const from = pins.findIndex(({ root }) => root === after) + 1;
      const page = pins.slice(from, from + limit);
      return { pins: page, ...(from + limit < FILES ? { next: String(page.at(-1)?.root) } : {}) };
    },
    metrics,
    log,
  });
  const running = proving.start(createLoops({ log }), 3_600_000); // rounds come when the test says
  const round = async () => {
    time.nowMs += 10_000;
    await proving.round();
  };
  return {
    time,
    other,
    rotten,
    dropped,
    told,
    nonces,
    proving,
    running,
    opinions,
    holders,
    round,
    asked: () => asked,
    changes: () => changes,
    figures: () => opinions.of(PEER),
    proofs: () => pins.map(({ root }) => holders.last(root, PEER)?.proof?.isProved),
    metric: async (name: string) =>
      (await metrics.registry.getSingleMetric(name)?.get())?.values ?? [],
  };
}

describe('samples of what a member says it holds', () => {
  let pair: ReturnType<typeof paperPair> | undefined;
  const start = () => (pair = paperPair());
  afterEach(() => pair?.running[Symbol.dispose]());

  it('go over all files in turn, some blocks of each, with a nonce for each question', async () => {
    const { round, proofs, figures, asked, nonces, opinions } = start();
    await round();
    const first = proofs().filter((isProved) => isProved === true).length;
    expect(first).toBeGreaterThanOrEqual(12); // 24 blocks, at most 2 of a file
    for (let count = 0; count < 20; count += 1) await round();
    expect(new Set(proofs())).toEqual(new Set([true]));
    expect(nonces.size).toBe(21);
    expect(figures()).toMatchObject({
      proofs: { claimed: asked(), proved: asked(), failed: 0, unanswered: 0 },
    });
    expect(opinions.isSampled(PEER)).toBe(true);
    expect(asked()).toBeLessThanOrEqual(21 * 24);
  });

  it('find out who throws away what it took, whatever it answers, and name it', async () => {
    for (const [how, rounds] of [
      ['garbage', 1],
      ['nothing', 3],
    ] as const) {
      const { other, round, figures, proofs, changes, metric, opinions } = start();
      other.prove = () => how;
      for (let count = 0; count < rounds; count += 1) {
        expect(figures().isDistrusted).toBeUndefined();
        await round();
      }
      expect(figures()).toMatchObject({ isDistrusted: true, proofs: { proved: 0 } });
      expect(changes()).toBe(1);
      expect(opinions.isSampled(PEER)).toBe(false);
      expect(proofs()).toContain(false);
      expect(proofs()).not.toContain(true);
      expect(await metric('shoal_discovery_distrusted_members')).toMatchObject([{ value: 1 }]);
      const [named] = await metric('shoal_discovery_unproved_blocks');
      expect(named).toMatchObject({ labels: { peer: PEER } });
      pair?.running[Symbol.dispose]();
    }
  });

  it('blame nobody for what was dropped since, and for our own damage', async () => {
    const { other, rotten, round, figures, proofs } = start();
    // It says that it has nothing more as soon as it is asked, as its have-map does from then on.
    const gone = new Set<Cid>();
    other.claims = (place) => !gone.has(blockAt(place));
    other.prove = (cid) => {
      gone.add(cid);
      return 'nothing';
    };
    for (let count = 0; count < 4; count += 1) await round();
    expect(figures().proofs).toMatchObject({ proved: 0, failed: 0 });
    other.prove = () => 'proof';
    other.claims = () => true;
    for (let file = 0; file < FILES; file += 1)
      for (let index = 0; index < BLOCKS; index += 1)
        rotten.add(blockAt({ root: rootAt(file), index }));
    await round();
    expect(figures().proofs).toMatchObject({ failed: 0 });
    expect(figures().isDistrusted).toBeUndefined();
    expect(proofs()).not.toContain(false);
  });

  it('ask again for what failed, until it is proved or no longer claimed', async () => {
    const { other, told, round, figures, proofs } = start();
    const bad = new Set<Cid>();
    other.prove = (cid) => {
      if (bad.size < 2 && !bad.has(cid)) bad.add(cid);
      return bad.has(cid) ? 'garbage' : 'proof';
    };
    await round();
    // Two damaged blocks: their files' copies don't count, the others do; and it is told of them.
    expect(figures()).toMatchObject({ proofs: { failed: 2 } });
    expect(figures().isDistrusted).toBeUndefined();
    expect(proofs().filter((isProved) => isProved === false).length).toBeGreaterThan(0);
    expect(new Set(told)).toEqual(bad);
    const [mended, droppedBlock] = [...bad];
    other.prove = (cid) => (cid === droppedBlock ? 'garbage' : 'proof');
    other.claims = (place) => blockAt(place) !== droppedBlock;
    await round();
    expect(mended).toBeDefined();
    expect(proofs()).not.toContain(false);
  });

  it('hold nothing against who failed a block that we dropped since', async () => {
    const { other, dropped, round, figures, proofs } = start();
    const bad = new Set<Cid>();
    other.prove = (cid) => {
      if (bad.size < 2) bad.add(cid);
      return bad.has(cid) ? 'garbage' : 'proof';
    };
    await round();
    expect(proofs()).toContain(false);
    for (const cid of bad) dropped.add(cid);
    await round();
    expect(proofs()).not.toContain(false);
    expect(figures()).toMatchObject({ proofs: { failed: 2 } });
  });

  it('trust again who has its blocks again', async () => {
    const { other, round, figures, changes, proofs } = start();
    other.prove = () => 'garbage';
    await round();
    expect(figures().isDistrusted).toBe(true);
    other.prove = () => 'proof';
    for (let count = 0; count < 5; count += 1) await round();
    expect(figures().isDistrusted).toBeUndefined();
    expect(changes()).toBe(2);
    expect(proofs()).not.toContain(false);
  });

  it('tell a slow member from a liar: it is given time, and no more than one that is away', async () => {
    const { other, round, figures, proofs } = start();
    other.prove = () => 'silence';
    for (let count = 0; count < 7; count += 1) await round();
    expect(figures()).toMatchObject({ proofs: { failed: 0, unanswered: 7 } });
    expect(figures().isDistrusted).toBeUndefined();
    expect(proofs()).not.toContain(false);
    await round();
    expect(figures().isDistrusted).toBe(true);
  });

  it('are put when somebody looks at a file, unless they were a moment ago', async () => {
    const { proving, holders, round, asked, time } = start();
    await round();
    const root = rootAt(FILES - 1);
    const look = () => proving.look({ root } as Pin, { signal });
    await look(); // nothing is known of it: there is nothing to ask
    const before = asked();
    for (let count = 0; count < 2; count += 1) await round();
    time.nowMs += 120_000;
    expect(holders.last(root, PEER)).toBeDefined();
    const walked = asked();
    expect(walked).toBeGreaterThan(before);
    await look();
    expect(asked()).toBeGreaterThan(walked);
    const looked = asked();
    await look();
    expect(asked()).toBe(looked);
  });
});
