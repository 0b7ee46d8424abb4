/**
 * The ends of leases: an upload that is over tells every member that took its blocks, best effort, by design.
 *
 * An offer may outlast its upload: the job was tried again, or its answer was slow. Blocks taken under a lease that is
 * never ended again would be held for hours, so the sender offers nothing under it, and the receiver ends it
 * once more after a late offer.
 */
import { type Log, type PeerClient, RecentMap } from '@shoal/chassis';
import { type Lease, type ReleaseJob, storageRoutes, transferRoutes } from '@shoal/protocol';
import { type MemberView, targetOf } from '../peers/member-view.ts';

/** Leases remembered: those of the last uploads. An older one runs out by itself. */
const RELEASED_MAX = 4096;

export class ReleasedLeases {
  readonly #leases = new RecentMap<Lease, boolean>({ max: RELEASED_MAX });

  note(lease: Lease, isCompleted: boolean): void {
    this.#leases.set(lease, isCompleted);
  }

  /** How the lease ended: completed by a pin, or given up; undefined while it is in force. */
  wasCompleted(lease: Lease): boolean | undefined {
    return this.#leases.peek(lease);
  }
}

/**
 * Ends it at the other members: completed, so that a pin holds the blocks from now on, or given up. At one
 * that can't be reached the lease runs out by itself.
 */
export async function releaseEverywhere(
  { lease, keep }: Pick<ReleaseJob, 'lease' | 'keep'>,
  { client, view, log }: { client: PeerClient; view: MemberView; log: Log },
  { signal }: { signal: AbortSignal },
): Promise<void> {
  const others = view.asked().filter(({ isSelf }) => !isSelf);
  await Promise.all(
    others.map(async (member) => {
      try {
        await client.call(
          targetOf(member, 'transfer', client),
          transferRoutes.releaseReplicas,
          { params: { lease }, query: { keep: keep ? 'true' : 'false' } },
          { signal },
        );
      } catch (err) {
        signal.throwIfAborted();
        log.debug({ err, peer: member.peerId }, 'lease not released');
      }
    }),
  );
}

/** Ends a lease in our own storage once more, if its upload ended while blocks were still put under it. */
export async function endIfReleased(
  lease: Lease,
  released: ReleasedLeases,
  client: PeerClient,
  { signal }: { signal: AbortSignal },
): Promise<void> {
  const isCompleted = released.wasCompleted(lease);
  if (isCompleted !== undefined) await endLease(lease, isCompleted, client, { signal });
}

/** Ends a lease in our own storage; of one that is given up, what only it held is deleted. */
export function endLease(
  lease: Lease,
  isCompleted: boolean,
  client: PeerClient,
  { signal }: { signal: AbortSignal },
): Promise<{ deletedBlocks: number }> {
  const args = { params: { lease }, query: { keep: isCompleted ? 'true' : 'false' } };
  return client.call(client.own('storage'), storageRoutes.endLease, args, { signal });
}
