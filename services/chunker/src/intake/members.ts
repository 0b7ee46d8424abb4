/** The other members, as an upload needs them: how many can take copies, and which have room. */
import { type Log, MemberTable, type PeerClient } from '@shoal/chassis';
import {
  ClockWrong,
  hasFigures,
  IdentityInUse,
  keepsCopies,
  type Member,
  PeerRemoved,
  type StorageFull,
  takesCopies,
} from '@shoal/protocol';

/** Peers named to a client that was refused: enough to find one that is up. */
const PEERS_NAMED_MAX = 5;

export type PeersWithRoom = NonNullable<
  InstanceType<typeof StorageFull>['fields']['peersWithRoom']
>;

export interface Members {
  /**
   * @throws ClockWrong when what is written here would be dated wrong; IdentityInUse when another process
   *   was first under this peer's identity; PeerRemoved when an owner shut it out.
   */
  checkWritable(options: { signal: AbortSignal }): Promise<void>;
  /** How many members copies can be placed on; 1 when no member is known. */
  placeableCount(options: { signal: AbortSignal }): Promise<number>;
  /** Other members with at least this much room, the roomiest first; undefined when no member is known. */
  withRoom(
    neededBytes: number,
    options: { signal: AbortSignal },
  ): Promise<PeersWithRoom | undefined>;
}

/** Answers from a table that is at most a second old, or the last one while discovery is away. */
export function createMembers({
  client,
  log,
}: {
  readonly client: PeerClient;
  readonly log: Log;
}): Members {
  const table = new MemberTable({ client, log });
  const known = async (options: { signal: AbortSignal }): Promise<readonly Member[]> =>
    (await table.fresh(options))?.members ?? [];

  return {
    async checkWritable(options) {
      const { twin, clock, removed } = (await table.fresh(options)) ?? {};
      if (twin?.isAside === true) throw new IdentityInUse({ gateway: twin.gateway });
      if (removed !== undefined) throw new PeerRemoved({ reason: removed.reason });
      if (clock?.isWrong === true) throw new ClockWrong({ aheadMs: clock.aheadMs ?? 0 });
    },
    async placeableCount(options) {
      return Math.max(1, (await known(options)).filter(isPlaceable).length);
    },
    async withRoom(neededBytes, options) {
      const members = await known(options);
      if (members.length === 0) return undefined;
      return members
        .filter((member) => isPlaceable(member) && !member.isSelf)
        .filter(({ freeBytes }) => freeBytes >= neededBytes)
        .toSorted((a, b) => b.freeBytes - a.freeBytes)
        .slice(0, PEERS_NAMED_MAX)
        .map(({ peerId, http, freeBytes }) => ({ peerId, gateway: http.gateway, freeBytes }));
    },
  };
}

/**
 * Nobody waits for a suspect: its copies count when it answers. The bytes that are here have their room. A member that
 * has just started will say what room it has while they are sent.
 */
function isPlaceable(member: Member): boolean {
  if (member.state === 'alive' && !member.draining && !hasFigures(member)) return true;
  return member.state === 'alive' && (member.isSelf ? keepsCopies(member) : takesCopies(member));
}
