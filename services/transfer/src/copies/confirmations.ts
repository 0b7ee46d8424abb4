/**
 * Who says that they hold which blocks, asked of the storages themselves at this moment: to know whom to
 * get them from. No answer is a "no". What lets us drop a copy is a proof: `copy-proofs.ts`.
 */
import { batchesOf, heldOf } from '@shoal/blocks';
import type { Log, PeerClient } from '@shoal/chassis';
import { type Cid, CIDS_PER_BATCH_MAX, type Member, storageRoutes } from '@shoal/protocol';
import { targetOf } from '../peers/member-view.ts';

/** Which of these blocks our own storage holds durably, in their order. */
export async function heldHere(
  cids: readonly Cid[],
  client: PeerClient,
  { signal }: { signal: AbortSignal },
): Promise<Cid[]> {
  const held: Cid[] = [];
  for (const batch of batchesOf(cids, CIDS_PER_BATCH_MAX)) {
    const args = { body: { cids: batch } };
    const { bits } = await client.call(client.own('storage'), storageRoutes.haveBlocks, args, {
      signal,
    });
    held.push(...heldOf(batch, bits));
  }
  return held;
}

/**
 * Asks each of these members that is alive for its blocks, at most `CIDS_PER_BATCH_MAX` of them;
 * gives the members that confirmed each block.
 */
export async function askConfirmations(
  asks: ReadonlyMap<Member, readonly Cid[]>,
  { client, log }: { readonly client: PeerClient; readonly log: Log },
  { signal }: { signal: AbortSignal },
): Promise<Map<Cid, Member[]>> {
  const confirmed = new Map<Cid, Member[]>();
  await Promise.all(
    [...asks].map(async ([member, cids]) => {
      if (member.state !== 'alive' || cids.length === 0) return;
      try {
        const { bits } = await client.call(
          targetOf(member, 'storage', client),
          storageRoutes.haveBlocks,
          { body: { cids: [...cids] } },
          { signal },
        );
        for (const cid of heldOf(cids, bits))
          confirmed.set(cid, [...(confirmed.get(cid) ?? []), member]);
      } catch (err) {
        signal.throwIfAborted();
        log.debug({ err, peer: member.peerId }, 'copies not confirmed');
      }
    }),
  );
  return confirmed;
}
