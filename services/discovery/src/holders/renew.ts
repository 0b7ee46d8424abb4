/**
 * Renews what members said of all that they hold, with one small question each: while a member's counter of losses stands
 * still, the copies that it named before are there. So a list of any length costs a message for each member.
 */
import type { PeerId } from '@shoal/protocol';
import type { Membership } from '../members/membership.ts';
import type { Wire } from '../network/wire.ts';
import type { Holders } from './holders.ts';
import type { OwnLosses } from './own-losses.ts';

/** A counter that was asked for less long ago is good enough. */
const FRESH_MS = 1000;
/** Longest wait for a member's counter. Past it: what it said keeps its date. */
const ANSWER_TIMEOUT_MS = 1000;

/** Asks these members, and looks at our own storage's counter. */
export type Renew = (members: readonly PeerId[]) => Promise<void>;

export function createRenew({
  self,
  wire,
  holders,
  ownLosses,
  membership,
}: {
  readonly self: PeerId;
  readonly wire: Pick<Wire, 'request' | 'isConnected'>;
  readonly holders: Pick<Holders, 'noteLosses' | 'renewedAtMs' | 'clock'>;
  readonly ownLosses: Pick<OwnLosses, 'count'>;
  readonly membership: Pick<Membership, 'hearNews'>;
}): Renew {
  /** Single-flight: lists that come together share the questions. */
  const asking = new Map<PeerId, Promise<void>>();
  const ask = async (peerId: PeerId): Promise<void> => {
    const askedAtMs = holders.clock();
    try {
      const options = { timeoutMs: ANSWER_TIMEOUT_MS };
      const { losses, news } = await wire.request(peerId, { kind: 'ping' }, options);
      holders.noteLosses(peerId, losses, askedAtMs);
      // They count as told.
      if (news !== undefined) membership.hearNews(news, peerId);
    } catch {
      // Whether it is there is the failure detector's business.
    } finally {
      asking.delete(peerId);
    }
  };
  return async (members) => {
    const nowMs = holders.clock();
    holders.noteLosses(self, ownLosses.count, nowMs);
    const isDue = (peerId: PeerId) =>
      wire.isConnected(peerId) && nowMs - (holders.renewedAtMs(peerId) ?? -Infinity) > FRESH_MS;
    await Promise.all(
      members.filter(isDue).map((peerId) => {
        const question = asking.get(peerId) ?? ask(peerId);
        asking.set(peerId, question);
        return question;
      }),
    );
  };
}
