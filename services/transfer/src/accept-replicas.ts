/**
 * The receiving end of an offer: pull the blocks that we lack from the caller's storage, make them
 * durable, and answer a bit for each that we now hold. Only members are pulled from, at the address
 * of their own signed record; the offer brings ids, never an address.
 */
import { decodeBits, encodeBits, getBit, setBit } from '@shoal/blocks';
import type { BufferPool, Call, Log, PeerClient } from '@shoal/chassis';
import {
  BlockCorrupt,
  type Cid,
  type Lease,
  Overloaded,
  ProofRefused,
  StorageFull,
  storageRoutes,
  type transferRoutes,
} from '@shoal/protocol';
import { keepBlock, type Limit } from './copy.ts';
import { type MemberView, targetOf } from './member-view.ts';
import type { Metrics } from './metrics.ts';
import { receiveBlock } from './receive-block.ts';
import type { ReleasedLeases } from './released-leases.ts';
import type { ReportCorrupt } from './report-corrupt.ts';
import type * as z from 'zod';

type Offer = typeof transferRoutes.offerReplicas;

/** Offers worked on or waiting; past that the caller is told to come again. */
const OFFERS_MAX = 64;

export function createAcceptReplicas(deps: {
  readonly client: PeerClient;
  readonly pool: BufferPool;
  readonly view: MemberView;
  readonly metrics: Metrics;
  readonly log: Log;
  readonly limit: Limit;
  readonly reportCorrupt: ReportCorrupt;
  readonly released: ReleasedLeases;
  readonly stallMs: number;
  readonly timeoutMs: number;
}): (
  call: Call<Offer['params'], Offer['query'], Offer['body']>,
) => Promise<z.input<Offer['reply']>> {
  const { client, view, metrics, log, limit } = deps;
  let offers = 0;

  return async ({ body: { lease, cids }, caller, signal }) => {
    const member = view.get(caller);
    if (member === undefined)
      throw new ProofRefused({ reason: `${caller} is not in this peer's member table yet` });
    if (offers >= OFFERS_MAX) throw new Overloaded({ what: 'offers', limit: OFFERS_MAX });
    offers += 1;
    try {
      const own = client.own('storage');
      const { bits } = await client.call(
        own,
        storageRoutes.leaseBlocks,
        { params: { lease }, body: { cids } },
        { signal },
      );
      const held = decodeBits(bits, cids.length);
      const target = targetOf(member, 'storage', client);
      let isFull = false;
      const pull = async (cid: Cid, index: number): Promise<void> => {
        if (isFull) return;
        try {
          const block = await receiveBlock(deps, target, cid, undefined, { signal });
          await keepBlock(client, cid, block, lease, { signal });
          setBit(held, index);
          metrics.blocksReplicated.inc({ direction: 'in', outcome: 'copied' });
        } catch (err) {
          signal.throwIfAborted();
          isFull ||= err instanceof StorageFull;
          if (err instanceof BlockCorrupt) {
            metrics.corruptBlocks.inc({ source: 'peer' });
            deps.reportCorrupt(member, cid);
          }
          metrics.blocksReplicated.inc({ direction: 'in', outcome: 'failed' });
          log.warn({ err, cid, peer: caller }, 'offered block not copied');
        }
      };
      await Promise.all(
        cids.map(async (cid, index) => {
          if (!getBit(held, index)) return limit(() => pull(cid, index));
          metrics.blocksReplicated.inc({ direction: 'in', outcome: 'held' });
        }),
      );
      const wasKept = deps.released.wasKept(lease);
      if (wasKept !== undefined) await endLease(lease, wasKept, client, { signal });
      return { bits: encodeBits(held) };
    } finally {
      offers -= 1;
    }
  };
}

/** Ends a lease in our own storage; without `keep`, what only it held is deleted. */
export function endLease(
  lease: Lease,
  keep: boolean,
  client: PeerClient,
  { signal }: { signal: AbortSignal },
): Promise<{ deletedBlocks: number }> {
  const args = { params: { lease }, query: { keep: keep ? 'true' : 'false' } };
  return client.call(client.own('storage'), storageRoutes.endLease, args, { signal });
}
