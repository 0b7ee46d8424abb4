/**
 * The receiving end of small blocks that a member hands over: our storage makes them durable, under the upload's lease
 * or marked for the pin that is on its way, in one transaction, and answers the proof of each that the member asks for.
 */
import { type Call, type PeerClient } from '@shoal/chassis';
import {
  type Cid,
  CIDS_PER_BATCH_MAX,
  type CopyProof,
  NO_PROOF,
  Overloaded,
  ProofRefused,
  storageRoutes,
  type transferRoutes,
} from '@shoal/protocol';
import type { Metrics } from '../metrics.ts';
import type { MemberView } from '../peers/member-view.ts';
import type { Incoming } from './incoming.ts';
import { endIfReleased, type ReleasedLeases } from './end-leases.ts';
import { bodyOf, readSentBlocks } from './sent-blocks.ts';

type Take = typeof transferRoutes.takeBlocks;

/** Calls worked on at once. Past it: 503 `overloaded`; the caller has the blocks stored elsewhere. */
const CALLS_MAX = 32;

export function createTakeBlocks({
  client,
  view,
  incoming,
  released,
  metrics,
}: {
  readonly client: PeerClient;
  readonly view: MemberView;
  readonly incoming: Incoming;
  readonly released: ReleasedLeases;
  readonly metrics: Metrics;
}): (
  call: Call<Take['params'], Take['query'], Take['body']>,
) => Promise<{ cids: Cid[]; proofs: CopyProof[] }> {
  let calls = 0;
  return async ({ request, reply, query: { replicas, nonce, lease }, caller, signal }) => {
    if (view.get(caller) === undefined)
      throw new ProofRefused({ reason: `${caller} is not in this peer's member table yet` });
    if (calls >= CALLS_MAX) throw new Overloaded({ what: 'calls with blocks', limit: CALLS_MAX });
    calls += 1;
    using claims = new DisposableStack();
    try {
      const sent = await readSentBlocks({
        request: request.raw,
        response: reply.raw,
        blocksMax: CIDS_PER_BATCH_MAX,
      });
      // Settling that the pin sets off must not copy what is here in a moment.
      const claimed = sent.map(({ cid }) => claims.use(incoming.claim(cid)));
      const { blocks, proofs = [] } = await client.send(
        client.own('storage'),
        storageRoutes.addBlocks,
        {
          query: { ...(lease === undefined ? { replicas } : { lease }), nonce, asker: caller },
          bytes: bodyOf(sent),
        },
        { signal },
      );
      if (lease !== undefined) await endIfReleased(lease, released, client, { signal });
      for (const claim of claimed) claim.arrived();
      metrics.blocksReplicated.inc({ direction: 'in', outcome: 'copied' }, blocks.length);
      return {
        cids: blocks.map(({ cid }) => cid),
        proofs: blocks.map((_, at) => proofs[at] ?? NO_PROOF),
      };
    } finally {
      calls -= 1;
    }
  };
}
