/**
 * Reporting wrong bytes to the peer that sent them: its storage re-reads the block, sets a damaged one aside
 * and replaces it. It believes its own disk, not us, so a wrong report costs it one read. No caller waits
 * for the answer.
 */
import type { Log, PeerClient } from '@shoal/chassis';
import { type Cid, type Member, storageRoutes } from '@shoal/protocol';
import { targetOf } from './member-view.ts';
import type { Metrics } from '../metrics.ts';

/** Reports under way. Past that none is sent: the next reader will meet the same bytes. */
const REPORTS_MAX = 16;
const REPORT_TIMEOUT_MS = 10_000;

export type ReportCorrupt = (member: Member, cid: Cid) => void;

export function createReportCorrupt({
  client,
  metrics,
  log,
}: {
  readonly client: PeerClient;
  readonly metrics: Metrics;
  readonly log: Log;
}): ReportCorrupt {
  const underWay = new Set<string>();

  const report = async (member: Member, cid: Cid): Promise<void> => {
    try {
      const { state } = await client.call(
        targetOf(member, 'storage', client),
        storageRoutes.checkBlock,
        { params: { cid } },
        { signal: AbortSignal.timeout(REPORT_TIMEOUT_MS) },
      );
      metrics.corruptReports.inc({ outcome: state });
    } catch (err) {
      metrics.corruptReports.inc({ outcome: 'failed' });
      log.debug({ err, cid, peer: member.peerId }, 'wrong bytes not reported');
    }
  };
  return (member, cid) => {
    const key = `${member.peerId} ${cid}`;
    if (underWay.has(key) || underWay.size >= REPORTS_MAX) return;
    underWay.add(key);
    void report(member, cid).finally(() => underWay.delete(key));
  };
}
