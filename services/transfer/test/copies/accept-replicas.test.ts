import { describe, expect, it } from '@jest/globals';
import { decodeBits, getBit, hashBlock } from '@shoal/blocks';
import {
  createBufferPool,
  createLimit,
  createLog,
  createTokenBucket,
  type PeerClient,
} from '@shoal/chassis';
import { type Cid, Overloaded, ProofRefused, storageRoutes } from '@shoal/protocol';
import { randomUUID } from 'node:crypto';
import { Registry } from 'prom-client';
import { createAcceptReplicas } from '../../src/copies/accept-replicas.ts';
import { createIncoming } from '../../src/copies/incoming.ts';
import { createMetrics } from '../../src/metrics.ts';
import { ReleasedLeases } from '../../src/copies/end-leases.ts';
import { createRepairs } from '../../src/copies/repairs.ts';
import { createReceiveBlock } from '../../src/fetch/receive-block.ts';
import { bitsFor, paperClient, paperView, peerOf } from '../paper.ts';

const { signal } = new AbortController();
const BYTES = ['one', 'two', 'three'].map((text) => Buffer.from(text));
const CIDS = BYTES.map((bytes) => hashBlock('raw', bytes));

/** The receiving end: our storage is a set, and each block of the others' comes when the test says so. */
function paperReceiver() {
  const held = new Set<Cid>();
  const leased: (readonly Cid[])[] = [];
  const received: string[] = [];
  const failing = new Set<string>();
  let arrive: Promise<void> = Promise.resolve();
  const onPaper = paperClient([
    [
      storageRoutes.leaseBlocks,
      ({ body: { cids } }) => {
        leased.push(cids);
        return bitsFor(cids, (cid) => held.has(cid));
      },
    ],
    [
      storageRoutes.expectProofs,
      ({ body: { cids, asker, holder, nonce } }) => ({
        proofs: cids.map(
          (cid) => `${String(holder)} proves ${cid} to ${String(asker)}, ${String(nonce)}`,
        ),
      }),
    ],
    [storageRoutes.putBlock, ({ params }) => held.add(params['cid'] as Cid)],
  ]);
  const client: PeerClient = {
    ...onPaper,
    async receive(target, path, { onHead }) {
      received.push(target.peerId);
      await arrive;
      if (failing.has(target.peerId)) throw new Error('the sender is gone');
      const bytes = BYTES[CIDS.findIndex((cid) => path.includes(cid))] ?? Buffer.alloc(0);
      onHead(200, bytes.length)?.set(bytes);
    },
  };
  const metrics = createMetrics(new Registry());
  const log = createLog('test', 'silent');
  const incoming = createIncoming();
  const common = { client, incoming, metrics, log };
  const bucket = createTokenBucket({ ratePerSecond: 0, nowMs: () => 0 });
  const pool = createBufferPool(1024, 4);
  const accept = createAcceptReplicas({
    ...common,
    view: paperView([{}, {}, {}]).view,
    receive: createReceiveBlock({ client, pool, stallMs: 1000, timeoutMs: 1000 }),
    limit: createLimit(2),
    reportCorrupt: () => undefined,
    released: new ReleasedLeases(),
  });
  return {
    held,
    leased,
    received,
    failing,
    repairs: createRepairs({ ...common, bucket, blocksMax: 2 }),
    /** Blocks stay on their way from now until the answer is called. */
    holdUp() {
      const { promise, resolve } = Promise.withResolvers<void>();
      arrive = promise;
      return resolve;
    },
    async offer(peer: number, cids: readonly Cid[] = CIDS): Promise<boolean[]> {
      const body = { lease: randomUUID(), cids: [...cids] };
      const call = { body, caller: peerOf(peer), signal } as Parameters<typeof accept>[0];
      const { bits } = await accept(call);
      const answer = decodeBits(bits, cids.length);
      return cids.map((_, index) => getBit(answer, index));
    },
    async proofsFor(peer: number, nonce: string | undefined) {
      const body = { lease: randomUUID(), cids: [...CIDS], nonce };
      return (await accept({ body, caller: peerOf(peer), signal } as Parameters<typeof accept>[0]))
        .proofs;
    },
    copies: async (outcome: string) =>
      (await metrics.blocksReplicated.get()).values
        .filter(({ labels }) => labels.outcome === outcome)
        .reduce((sum, { value }) => sum + value, 0),
  };
}

const nextTurn = () => new Promise((resolve) => setImmediate(resolve));

describe('acceptReplicas', () => {
  it('pulls what is not here and answers for all of it', async () => {
    const paper = paperReceiver();
    paper.held.add(CIDS[0] as Cid);
    expect(await paper.offer(1)).toEqual([true, true, true]);
    expect(paper.received).toEqual([peerOf(1), peerOf(1)]);
  });

  it('proves to who asks what it has then, and nothing that it could not get', async () => {
    const paper = paperReceiver();
    paper.held.add(CIDS[1] as Cid);
    const proofOf = (cid: Cid) => `${peerOf(0)} proves ${cid} to ${peerOf(1)}, x`;
    expect(await paper.proofsFor(1, 'x')).toEqual(CIDS.map(proofOf));
    expect(await paper.proofsFor(1, undefined)).toBeUndefined(); // an earlier version asks

    const cut = paperReceiver();
    cut.held.add(CIDS[1] as Cid);
    cut.failing.add(peerOf(1));
    expect(await cut.proofsFor(1, 'x')).toEqual(['', proofOf(CIDS[1] as Cid), '']);
  });

  it('refuses a caller that is no member, and more offers than it has room for', async () => {
    const paper = paperReceiver();
    await expect(paper.offer(7)).rejects.toThrow(ProofRefused);
    const arrive = paper.holdUp();
    const offers = Array.from({ length: 65 }, () => paper.offer(1));
    const settled = Promise.allSettled(offers);
    arrive();
    const refused = (await settled).filter(({ status }) => status === 'rejected');
    expect(refused).toEqual([{ status: 'rejected', reason: expect.any(Overloaded) }]);
  });

  it('copies a block once that two offers bring at one time', async () => {
    const paper = paperReceiver();
    const arrive = paper.holdUp();
    const offers = [paper.offer(1), paper.offer(2)];
    await nextTurn();
    arrive();
    expect(await Promise.all(offers)).toEqual([
      [true, true, true],
      [true, true, true],
    ]);
    expect(paper.received).toEqual([peerOf(1), peerOf(1), peerOf(1)]);
    expect(await paper.copies('copied')).toBe(3);
    // The second offer's lease holds them too.
    expect(paper.leased.slice(2)).toEqual(CIDS.map((cid) => [cid]));
  });

  it('pulls from the second caller what the first could not give', async () => {
    const paper = paperReceiver();
    paper.failing.add(peerOf(1));
    expect(await Promise.all([paper.offer(1), paper.offer(2)])).toEqual([
      [false, false, false],
      [true, true, true],
    ]);
    expect(await paper.copies('copied')).toBe(3);
  });

  it('waits for a repair of the same block, and repairs leave to it what it brings', async () => {
    const paper = paperReceiver();
    const lookedAtMs = performance.now();
    const wants = CIDS.map((cid, index) => ({ cid, index }));
    const repaired: number[] = [];
    const fetched = Promise.withResolvers<void>();
    const repair = (from: number, to: number) =>
      paper.repairs.copy(
        wants.slice(from, to),
        async ({ index }) => {
          repaired.push(index);
          await fetched.promise;
          return { bytes: BYTES[index] ?? Buffer.alloc(0), release: () => undefined };
        },
        { lookedAtMs, signal },
      );
    const first = repair(0, 1);
    await nextTurn();
    const arrive = paper.holdUp();
    const offer = paper.offer(1);
    await nextTurn();
    expect(await repair(0, 3)).toEqual({ copied: [], failedBlocks: 0, isFull: false });
    arrive();
    fetched.resolve();
    expect(await first).toMatchObject({ copied: [CIDS[0]] });
    expect(await offer).toEqual([true, true, true]);
    expect(await repair(1, 3)).toMatchObject({ copied: [], failedBlocks: 0 }); // it came meanwhile
    expect(repaired).toEqual([0]);
    expect(paper.received).toHaveLength(2);
    expect(await paper.copies('copied')).toBe(3);
    expect(await paper.copies('held')).toBe(1);
  });

  it('leaves no claim behind when storage does not answer', async () => {
    const paper = paperReceiver();
    const { leased } = paper;
    leased.push = () => {
      throw new Error('storage is away');
    };
    await expect(paper.offer(1)).rejects.toThrow('storage is away');
    Reflect.deleteProperty(leased, 'push');
    expect(await paper.offer(2)).toEqual([true, true, true]);
    expect(paper.received).toHaveLength(3);
  });
});
