/**
 * The receiving end of an offer: pull the blocks that we lack from the caller's storage, make them
 * durable, and answer a bit and a proof for each that we now hold. Only members are pulled from, at the address
 * of their own signed record; the offer brings ids, never an address.
 */
import { decodeBits, encodeBits, getBit, setBit } from '@shoal/blocks';
import type { Call, Limit, Log, PeerClient } from '@shoal/chassis';
import {
  BlockCorrupt,
  type Cid,
  type Lease,
  NO_PROOF,
  Overloaded,
  ProofRefused,
  StorageFull,
  storageRoutes,
  type transferRoutes,
} from '@shoal/protocol';
import type { Claim, Incoming } from './incoming.ts';
import { type MemberView, targetOf } from '../peers/member-view.ts';
import type { Metrics } from '../metrics.ts';
import { type ReceiveBlock, storeBlock } from '../fetch/receive-block.ts';
import { endIfReleased, type ReleasedLeases } from './end-leases.ts';
import type { ReportCorrupt } from '../peers/report-corrupt.ts';
import type * as z from 'zod';

type Offer = typeof transferRoutes.offerReplicas;

/** Offers worked on or waiting; past that the caller is refused and comes again. */
const OFFERS_MAX = 64;

export function createAcceptReplicas(deps: {
  readonly client: PeerClient;
  readonly receive: ReceiveBlock;
  readonly view: MemberView;
  readonly metrics: Metrics;
  readonly log: Log;
  readonly limit: Limit;
  readonly incoming: Incoming;
  readonly reportCorrupt: ReportCorrupt;
  readonly released: ReleasedLeases;
}): (
  call: Call<Offer['params'], Offer['query'], Offer['body']>,
) => Promise<z.input<Offer['reply']>> {
  const { client, receive, view, metrics, log, limit, incoming } = deps;
  let offers = 0;

  return async ({ body: { lease, cids, nonce }, caller, signal }) => {
    const member = view.get(caller);
    if (member === undefined)
      throw new ProofRefused({ reason: `${caller} is not in this peer's member table yet` });
    if (offers >= OFFERS_MAX) throw new Overloaded({ what: 'offers', limit: OFFERS_MAX });
    offers += 1;
    using claims = new DisposableStack();
    try {
      // Claimed before storage is asked: nobody begins to copy one of them in between.
      const wants = cids.map((cid) => ({ cid, claim: claims.use(incoming.claim(cid)) }));
      const held = await leaseHeld(lease, cids, client, { signal });
      const target = targetOf(member, 'storage', client);
      let isFull = false;
      const pull = async (cid: Cid, claim: Claim, index: number): Promise<void> => {
        if (isFull) return;
        try {
          const block = await receive({ cid, sizeBytes: undefined }, target, { signal });
          await storeBlock(client, cid, block, lease, { signal });
          claim.arrived();
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
        wants.map(async ({ cid, claim }, index) => {
          using _claim = claim;
          if (!getBit(held, index) && claim.before !== undefined) {
            await claim.before;
            const now = await leaseHeld(lease, [cid], client, { signal });
            if (getBit(now, 0)) setBit(held, index);
          }
          if (getBit(held, index))
            metrics.blocksReplicated.inc({ direction: 'in', outcome: 'held' });
          else await limit(() => pull(cid, claim, index));
        }),
      );
      await endIfReleased(lease, deps.released, client, { signal });
      const bits = encodeBits(held);
      if (nonce === undefined) return { bits };
      const args = { body: { nonce, asker: caller, holder: view.self, cids } };
      const made = await client.call(client.own('storage'), storageRoutes.expectProofs, args, {
        signal,
      });
      // Only of what is under the lease: the rest may be on its way out.
      const proofs = made.proofs.map((proof, index) => (getBit(held, index) ? proof : NO_PROOF));
      return { bits, proofs };
    } finally {
      offers -= 1;
    }
  };
}

/** Puts those blocks under the lease that our own storage holds; answers a bit for each. */
async function leaseHeld(
  lease: Lease,
  cids: readonly Cid[],
  client: PeerClient,
  { signal }: { signal: AbortSignal },
): Promise<Uint8Array> {
  const args = { params: { lease }, body: { cids: [...cids] } };
  const { bits } = await client.call(client.own('storage'), storageRoutes.leaseBlocks, args, {
    signal,
  });
  return decodeBits(bits, cids.length);
}
