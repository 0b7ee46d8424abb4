/** An upload is over: every member that took its blocks ends their lease. Best effort, by design. */
import type { Log, PeerClient } from '@shoal/chassis';
import { type ReleaseJob, transferRoutes } from '@shoal/protocol';
import { type MemberView, targetOf } from '../peers/member-view.ts';

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
