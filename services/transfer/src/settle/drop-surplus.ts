/**
 * Dropping what placement no longer wants here.
 *
 * The race to know about is two peers that each drop "the other's" surplus copy. A drop is therefore
 * in three steps: retire (our storage stops confirming the block to anybody), ask the peers whose copies
 * count to prove that they hold it, drop only when all of them did. Two peers that retire at once both get
 * a "no" and both keep. A peer that says yes to everything proves nothing, and we keep what it has to hold.
 * A block that can't be dropped is un-retired and looked at again later.
 *
 * The peers are asked before the block is retired, too: what then stays would have counted as no copy
 * for a while, and its file as one that lost some.
 */
import { batchesOf, heldOf } from '@shoal/blocks';
import type { PeerClient } from '@shoal/chassis';
import {
  type Cid,
  CIDS_PER_BATCH_MAX,
  type Member,
  type Pin,
  storageRoutes,
} from '@shoal/protocol';
import type { CopyProofs } from '../copies/copy-proofs.ts';
import type { Metrics } from '../metrics.ts';

/** The calls of a drop that was cut short are taken back within this. */
const UNRETIRE_TIMEOUT_MS = 2000;

/** Drops what all placed peers prove; answers how many blocks that was. */
export async function dropSurplus(
  surplus: readonly Cid[],
  pin: Pick<Pin, 'replicas'>,
  /** The peers whose copies of a block count; as it is surplus, never ourselves. */
  placed: (cid: Cid) => readonly Member[],
  deps: {
    readonly client: PeerClient;
    readonly proofs: CopyProofs;
    readonly metrics: Metrics;
    /** True while this peer drains: then fewer copies than the pin asks for may have to do. */
    readonly isLeaving: boolean;
  },
  { signal }: { signal: AbortSignal },
): Promise<number> {
  const { client, metrics } = deps;
  const own = client.own('storage');
  let dropped = 0;
  for (const all of batchesOf(surplus, CIDS_PER_BATCH_MAX)) {
    const batch = await provedByAll(all, pin, placed, deps, { signal });
    if (batch.length === 0) continue;
    const { bits } = await client.call(
      own,
      storageRoutes.retireBlocks,
      { body: { cids: [...batch], replicas: pin.replicas } },
      { signal },
    );
    const retired = heldOf(batch, bits);
    if (retired.length === 0) continue;
    let safe: readonly Cid[] = [];
    try {
      safe = await provedByAll(retired, pin, placed, deps, { signal });
    } finally {
      const unsafe = retired.filter((cid) => !safe.includes(cid));
      if (unsafe.length > 0) await unretire(unsafe, client);
    }
    if (safe.length === 0) continue;
    const drop = await client.call(
      own,
      storageRoutes.dropBlocks,
      { body: { cids: [...safe] } },
      { signal },
    );
    dropped += drop.droppedBlocks;
    metrics.blocksDropped.inc(drop.droppedBlocks);
  }
  return dropped;
}

/** Has our storage confirm these blocks again. Not cut short: it must also happen while we stop. */
export async function unretire(cids: readonly Cid[], client: PeerClient): Promise<void> {
  for (const batch of batchesOf(cids, CIDS_PER_BATCH_MAX)) {
    const args = { body: { cids: batch } };
    const signal = AbortSignal.timeout(UNRETIRE_TIMEOUT_MS);
    await client.call(client.own('storage'), storageRoutes.unretireBlocks, args, { signal });
  }
}

/**
 * Those of the blocks that each of their placed peers proves, asked just now. A peer that leaves a small
 * swarm finds fewer peers than the pin wants replicas: it needs all there are, and one at least. Any other
 * peer, one without capacity for example, keeps its copy then.
 */
async function provedByAll(
  cids: readonly Cid[],
  { replicas }: Pick<Pin, 'replicas'>,
  placed: (cid: Cid) => readonly Member[],
  deps: { readonly proofs: CopyProofs; readonly isLeaving: boolean },
  { signal }: { signal: AbortSignal },
): Promise<Cid[]> {
  const asks = new Map<Member, Cid[]>();
  const needed = new Map<Cid, number>();
  for (const cid of cids) {
    const members = placed(cid); // once: while the answers come in, members may change
    needed.set(cid, deps.isLeaving ? Math.max(1, members.length) : replicas);
    for (const member of members) asks.set(member, [...(asks.get(member) ?? []), cid]);
  }
  const proved = await deps.proofs.ask(asks, { signal, forGood: true });
  return cids.filter((cid) => (proved.get(cid)?.length ?? 0) >= (needed.get(cid) ?? Infinity));
}
