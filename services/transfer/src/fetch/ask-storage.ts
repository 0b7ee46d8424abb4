/**
 * One block from the storage of one peer, ours or another's. Every read of a block that is for a reader or a
 * repair goes through here, so that it is counted, and wrong bytes are reported.
 */
import type { Log, PeerClient } from '@shoal/chassis';
import type { Member } from '@shoal/protocol';
import type { Metrics } from '../metrics.ts';
import { type MemberView, targetOf } from '../peers/member-view.ts';
import type { ReportCorrupt } from '../peers/report-corrupt.ts';
import {
  outcomeOf,
  type ReceiveBlock,
  type ReceivedBlock,
  type SizedWant,
} from './receive-block.ts';

/** Asks a member's storage, or our own, which needs no member table. Fails as `ReceiveBlock` does. */
export type AskStorage = (
  want: SizedWant,
  whose: Member | 'own',
  options: { signal: AbortSignal },
) => Promise<ReceivedBlock>;

export function createAskStorage(deps: {
  readonly client: Pick<PeerClient, 'own'>;
  readonly receive: ReceiveBlock;
  readonly view: Pick<MemberView, 'self' | 'get'>;
  readonly metrics: Metrics;
  readonly reportCorrupt: ReportCorrupt;
  readonly log: Log;
}): AskStorage {
  const { client, receive, view, metrics, reportCorrupt, log } = deps;
  return async (want, whose, { signal }) => {
    const { cid } = want;
    const member = whose === 'own' ? view.get(view.self) : whose;
    const peer = member?.peerId ?? view.self;
    const source = whose === 'own' || whose.isSelf ? 'own' : 'peer';
    const target = whose === 'own' ? client.own('storage') : targetOf(whose, 'storage', client);
    try {
      const block = await receive(want, target, { signal });
      metrics.blocksFetched.inc({ source, outcome: 'verified' });
      metrics.bytesFetched.inc({ source }, block.bytes.length);
      return block;
    } catch (err) {
      const outcome = outcomeOf(err, signal);
      metrics.blocksFetched.inc({ source, outcome });
      if (outcome === 'failed') log.debug({ cid, peer, err }, 'block not received');
      if (outcome === 'corrupt') {
        metrics.corruptBlocks.inc({ source });
        log.warn({ cid, peer, err }, 'peer sent wrong bytes');
        if (member !== undefined) reportCorrupt(member, cid);
      }
      throw err;
    }
  };
}
