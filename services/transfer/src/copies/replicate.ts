/**
 * ④ Replicate: copies of new blocks at the peers that placement names.
 *
 * The blocks are offered, not pushed: the receiver pulls them from our storage at its own pace, makes
 * them durable, and proves each that it then has. A proved block is a confirmed copy, nothing else is:
 * that it still has what it was sent is asked again later, by discovery's samples and before any drop.
 * When a placed peer is down, fails or is distrusted, the next in the order is its stand-in; settling
 * moves the copy later.
 * Progress is the fewest confirmed copies over the job's blocks, so an upload can be answered as soon
 * as the number asked for is reached, while the rest goes on.
 */
import { decodeBits, getBit } from '@shoal/blocks';
import type { Log, PeerClient } from '@shoal/chassis';
import {
  type Cid,
  type Member,
  type PeerId,
  type ReplicateJob,
  type ReplicateProgress,
  transferRoutes,
} from '@shoal/protocol';
import { heldHere } from './confirmations.ts';
import type { CopyProofs } from './copy-proofs.ts';
import { ableHolders, isTrusted, type MemberView, targetOf } from '../peers/member-view.ts';
import type { Metrics } from '../metrics.ts';

/** A receiver answers for 64 blocks when all are durable: 64 MiB at a slow disk's speed. */
const OFFER_TIMEOUT_MS = 60_000;

export interface ReplicateDeps {
  readonly client: PeerClient;
  readonly view: MemberView;
  readonly proofs: CopyProofs;
  readonly metrics: Metrics;
  readonly log: Log;
}

/**
 * Makes copies of a job's blocks; resolves with what is confirmed in the end.
 * @throws Error when fewer copies than the members allow were confirmed: the job is tried again.
 */
export async function replicate(
  job: ReplicateJob,
  { client, view, proofs, metrics, log }: ReplicateDeps,
  onProgress: (progress: ReplicateProgress) => void,
  { signal }: { signal: AbortSignal },
): Promise<ReplicateProgress> {
  const cids = [...new Set(job.cids)];
  const confirmed = new Map(cids.map((cid) => [cid, new Set<PeerId>()]));
  const failed = new Set<PeerId>();
  const copies = () => Math.min(...[...confirmed.values()].map(({ size }) => size));
  const confirm = (peerId: PeerId, held: readonly Cid[]) => {
    for (const cid of held) confirmed.get(cid)?.add(peerId);
    onProgress({ copies: copies() });
  };

  confirm(view.self, await heldHere(cids, client, { signal }));
  for (;;) {
    const offers = planOffers(cids, job.replicas, confirmed, failed, view);
    if (offers.size === 0) break;
    await Promise.all(
      [...offers].map(async ([member, offered]) => {
        const { peerId } = member;
        try {
          const question = proofs.question(peerId, offered, { signal });
          const answer = await client.call(
            targetOf(member, 'transfer', client),
            transferRoutes.offerReplicas,
            { body: { lease: job.lease, cids: offered, nonce: question.nonce } },
            { signal, timeoutMs: OFFER_TIMEOUT_MS },
          );
          const said = decodeBits(answer.bits, offered.length);
          const isProved = await question.check(answer.proofs, (index) => getBit(said, index));
          const held = offered.filter(
            (_, index) => isProved[index] === true && getBit(said, index),
          );
          if (held.length < offered.length) failed.add(peerId); // full, lost us, or false: not asked again
          metrics.blocksReplicated.inc({ direction: 'out', outcome: 'copied' }, held.length);
          confirm(peerId, held);
        } catch (err) {
          signal.throwIfAborted();
          failed.add(peerId);
          metrics.blocksReplicated.inc({ direction: 'out', outcome: 'failed' }, offered.length);
          log.warn({ err, peer: peerId, blocks: offered.length }, 'offer failed');
        }
      }),
    );
  }
  const reached = copies();
  const possible = Math.min(job.replicas, countAble(view));
  if (reached < possible)
    throw new Error(`${reached} of ${possible} copies confirmed`, { cause: [...failed] });
  return { copies: reached };
}

/** How many peers could hold a copy now: those that are placed on and can be asked, and this one. */
function countAble(view: MemberView): number {
  const able = new Set(view.asked().map(({ peerId }) => peerId));
  const placed = view
    .placement(0)
    .filter((member) => able.has(member.peerId) && !member.isSelf && isTrusted(member));
  return placed.length + 1;
}

/**
 * Plans the offers: each block to the first `replicas` peers of its order that can be
 * asked and did not fail. Our own copy counts only where placement names us.
 */
function planOffers(
  cids: readonly Cid[],
  replicas: number,
  confirmed: ReadonlyMap<Cid, ReadonlySet<PeerId>>,
  failed: ReadonlySet<PeerId>,
  view: MemberView,
): Map<Member, Cid[]> {
  const offers = new Map<Member, Cid[]>();
  for (const cid of cids) {
    for (const member of ableHolders(view, cid, replicas, failed)) {
      if (member.isSelf || confirmed.get(cid)?.has(member.peerId) === true) continue;
      offers.set(member, [...(offers.get(member) ?? []), cid]);
    }
  }
  return offers;
}
