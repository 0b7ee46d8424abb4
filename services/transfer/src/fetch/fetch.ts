/**
 * ⑦ among the members: their storages are the providers, our own before all others, and one memory says
 * how each of them answered. Everything in this process that needs a block gets it here, by one of two
 * strategies: listed-blocks.ts knows from have-maps who holds what, any-blocks.ts asks.
 */
import type { Log, PeerClient } from '@shoal/chassis';
import { BlockCorrupt, type Member, type PeerId } from '@shoal/protocol';
import { createRanking, type Ranking } from '@shoal/swarm';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Metrics } from '../metrics.ts';
import { type MemberView, targetOf } from '../peers/member-view.ts';
import type { ReportCorrupt } from '../peers/report-corrupt.ts';
import { fetchBlock } from './fetch.ts';
import type { ReceiveBlock, ReceivedBlock, SizedWant } from './receive-block.ts';

/** Pause before all providers are asked again. */
const RETRY_DELAY_MS = 250;

export interface Source {
  /** The members that may have the block, best first, as far as is known now. */
  readonly providers: () => readonly Member[];
  /** For a block that must be somewhere: how long all are asked again, and how to learn of more of them. */
  readonly again?: { readonly forMs: number; readonly learn: () => Promise<void> };
}

/** One verified block from these members; the caller releases it. @throws BlockUnavailable */
export type FetchFrom = (
  want: SizedWant,
  source: Source,
  options: { signal: AbortSignal },
) => Promise<ReceivedBlock>;

/** @param signal Ends the watching of members. */
export function createFetchFrom(
  deps: {
    readonly client: Pick<PeerClient, 'own'>;
    readonly receive: ReceiveBlock;
    readonly view: MemberView;
    readonly metrics: Metrics;
    readonly reportCorrupt: ReportCorrupt;
    readonly log: Log;
  },
  { signal: running }: { signal: AbortSignal },
): FetchFrom {
  const { client, receive, view, metrics, log } = deps;
  const ranking = createRanking();
  const sourceOf = (member: Member) => (member.isSelf ? 'own' : 'peer');
  forgiveTheReturned(ranking, view, { signal: running });

  return async (want, { providers, again }, options) => {
    const { cid } = want;
    const startedAtMs = performance.now();
    const block = await fetchBlock<Member, ReceivedBlock>(
      cid,
      {
        ranking,
        nowMs: () => performance.now(),
        async receive(member, { signal }) {
          const received = await receive(want, targetOf(member, 'storage', client), { signal });
          metrics.bytesFetched.inc({ source: sourceOf(member) }, received.bytes.length);
          return received;
        },
        providers,
        // A copy on our own disk is the nearest there is, however busy.
        order: (members) => [
          ...members.filter(({ isSelf }) => isSelf),
          ...ranking.order(
            members.filter(({ isSelf }) => !isSelf),
            performance.now(),
          ),
        ],
        async findMore({ signal }) {
          if (performance.now() - startedAtMs > (again?.forMs ?? 0)) return false;
          await again?.learn();
          await sleep(RETRY_DELAY_MS, undefined, { signal }).catch(() => undefined);
          return !signal.aborted;
        },
        onEnd(member, outcome, err) {
          metrics.blocksFetched.inc({ source: sourceOf(member), outcome });
          if (err === undefined) return;
          metrics.retries.inc();
          if (err instanceof BlockCorrupt) {
            metrics.corruptBlocks.inc({ source: sourceOf(member) });
            log.warn({ cid, peer: member.peerId, err }, 'peer sent wrong bytes');
            deps.reportCorrupt(member, cid);
          } else log.debug({ cid, peer: member.peerId, err }, 'block not received');
        },
        onHedge: () => metrics.hedges.inc(),
      },
      options,
    );
    metrics.fetchDuration.observe((performance.now() - startedAtMs) / 1000);
    return block;
  };
}

/** A member that was away may have restarted: what it did before is not held against it. */
function forgiveTheReturned(
  ranking: Ranking,
  view: MemberView,
  { signal }: { signal: AbortSignal },
): void {
  let askedBefore = new Set<PeerId>();
  const forgive = () => {
    const asked = view.asked().map(({ peerId }) => peerId);
    for (const peerId of asked) if (!askedBefore.has(peerId)) ranking.forgive(peerId);
    askedBefore = new Set(asked);
  };
  view.onChange(forgive, { signal });
}
