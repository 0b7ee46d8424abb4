/** The HTTP face of the roster. */
import { mount, type Mounting } from '@shoal/chassis';
import { RosterRefused, rosterRoutes, type RosterReply } from '@shoal/protocol';
import type { Admit } from './admit.ts';
import type { RosterKeeper } from './roster-keeper.ts';
import type { RosterSync } from './roster-sync.ts';

export function mountRoster(
  mounting: Mounting,
  deps: {
    readonly keeper: RosterKeeper;
    readonly rosterSync: RosterSync;
    readonly admit: Admit;
  },
): void {
  const { keeper, rosterSync, admit } = deps;
  mount(mounting, rosterRoutes.show, async () => describe(keeper, mounting.self));
  mount(mounting, rosterRoutes.records, async () => ({ records: keeper.roster.records() }));
  mount(mounting, rosterRoutes.change, async ({ body: { records } }) => {
    const { added, refused } = rosterSync.take(records);
    const [first] = refused;
    if (added.length === 0 && first !== undefined)
      throw new RosterRefused({ reason: first.reason });
    return { added: added.length, refused: [...refused] };
  });
  mount(mounting, rosterRoutes.invite, async ({ body }) => admit.invite(body));
  mount(mounting, rosterRoutes.joinInfo, async () => ({ swarm: admit.swarm() }));
  mount(mounting, rosterRoutes.join, async ({ body, caller }) => admit.join(caller, body));
}

function describe({ roster }: RosterKeeper, self: string): RosterReply {
  const { swarmId, genesis, owners, members, removed, invites } = roster.view;
  const mayInvite = [...members].some(([peerId, each]) => peerId === self && each.mayInvite);
  return {
    ...(swarmId === undefined ? {} : { swarm: swarmId }),
    ...(genesis === undefined ? {} : { recovery: genesis.recovery }),
    isCompared: roster.isCompared,
    mayInvite,
    owners: [...owners].map(([key, { name, addedBy, sinceMs }]) => ({
      key,
      ...(name === undefined ? {} : { name }),
      addedBy,
      sinceMs,
    })),
    members: [...members].map(([peerId, { name, ...rest }]) => ({
      peerId,
      ...(name === undefined ? {} : { name }),
      ...rest,
    })),
    removed: [...removed].map(([peerId, { by, reason, atMs }]) => ({
      peerId,
      by,
      ...(reason === undefined ? {} : { reason }),
      atMs,
    })),
    invites: [...invites.values()].map(({ key, inviter, uses, used, expiresAtMs, isClosed }) => ({
      key,
      inviter,
      uses,
      used: used.size,
      expiresAtMs,
      isClosed,
    })),
  };
}
