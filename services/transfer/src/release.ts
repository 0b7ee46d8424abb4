/** An upload was given up: every member that took its blocks may let them go. Best effort, by design. */
import type { Log, PeerClient } from '@shoal/chassis';
import { type Lease, transferRoutes } from '@shoal/protocol';
import { type MemberView, targetOf } from './member-view.ts';

/** Tells the other members. One that can't be reached lets the lease run out by itself. */
export async function releaseEverywhere(
  lease: Lease,
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
          { params: { lease } },
          { signal },
        );
      } catch (err) {
        signal.throwIfAborted();
        log.debug({ err, peer: member.peerId }, 'lease not released');
      }
    }),
  );
}
