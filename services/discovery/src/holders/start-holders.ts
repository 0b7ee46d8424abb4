/** Puts together who holds what: the table, and what writes into it. */
import type { Events } from '@shoal/chassis/events';
import type { PeerId } from '@shoal/protocol';
import type { Membership } from '../members/membership.ts';
import type { AskAll } from '../network/ask.ts';
import type { Wire } from '../network/wire.ts';
import { createAnnounce } from './announce.ts';
import { createHolders, type Holders } from './holders.ts';
import type { ReadHaveMap } from './own-have-maps.ts';
import type { OwnLosses } from './own-losses.ts';
import { createRefresh } from './refresh.ts';
import { createRenew } from './renew.ts';
import { createWant } from './want.ts';

export interface StartHoldersDeps {
  readonly self: PeerId;
  readonly wire: Wire;
  readonly membership: Pick<Membership, 'onChange' | 'hearNews'>;
  readonly ask: AskAll;
  readonly readHaveMap: ReadHaveMap;
  readonly ownLosses: Pick<OwnLosses, 'count'>;
  readonly events: Pick<Events, 'publish'>;
  /** Monotonic. */
  readonly clock: () => number;
}

export function startHolders(deps: StartHoldersDeps, stack: AsyncDisposableStack) {
  const { membership, ask, events, clock } = deps;
  const holders = createHolders({ clock });
  turnWithMembers(membership, holders);
  const want = createWant({ ask, holders });
  const announcing = stack.use(
    createAnnounce({
      ...deps,
      holders,
      onHolding: (cid, peerId) =>
        events.publish({ kind: 'holding', atMs: Date.now(), cid, peerId }),
    }),
  );
  const renew = createRenew({ ...deps, holders });
  return { holders, want, announcing, renew, refresh: createRefresh({ ...deps, want, holders }) };
}

/** A member's statements are no longer current once it went, nor when it is back. */
function turnWithMembers(membership: Pick<Membership, 'onChange'>, holders: Holders): void {
  const gone = new Set<PeerId>();
  membership.onChange((peerId, state) => {
    const isGone = state === 'down' || state === 'out';
    // One that went may come back with less than it said; and what it said may reach us when it has gone.
    if (isGone || gone.delete(peerId)) holders.turn(peerId);
    if (isGone) gone.add(peerId);
  });
}
