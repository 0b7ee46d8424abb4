/**
 * ⑦ Fetch: which peer a block comes from.
 *
 * Our own disk is the nearest there is, however busy, when the block should be there. Of the others, those that fail go last; then those that
 * said they hold the block, and those on which it is placed, come before those that did not say; of
 * peers that are alike so far, the one that gives a block soonest now (swarm's rank.ts) is asked. Until the first
 * answers are here all is a guess: a wrong one costs a short "I don't have it", waiting would cost every reader
 * a round trip. race-providers.ts then asks them in this order.
 *
 * Everything in this process that needs a block gets it here, with one memory of how each peer answered, by one
 * of two strategies: listed-blocks.ts knows from have-maps who holds what, any-blocks.ts asks.
 */
import type { Log } from '@shoal/chassis';
import type { Member, PeerId } from '@shoal/protocol';
import { createRanking, type Ranking, type Standing } from '@shoal/swarm';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Metrics } from '../metrics.ts';
import type { MemberView } from '../peers/member-view.ts';
import type { AskStorage } from './ask-storage.ts';
import { raceProviders } from './race-providers.ts';
import type { ReceivedBlock, SizedWant } from './receive-block.ts';

/** Pause before all providers are asked again. */
const RETRY_DELAY_MS = 250;

/** The members that may have a block, by how likely they have it. */
export interface Providers {
  /** Said so. */
  readonly said: readonly Member[];
  /** Did not say, but the block is placed on them. */
  readonly placed?: readonly Member[];
  /** Did not say. */
  readonly unsure?: readonly Member[];
}

/**
 * How doubtful it is that the members of a group have the block. Placement is as good as a member's word: one that
 * came back in the middle of a transfer has not said anything yet.
 */
const DOUBTS = { said: 0, placed: 0, unsure: 1 } as const satisfies Record<keyof Providers, number>;
const GROUPS = ['said', 'placed', 'unsure'] as const satisfies readonly (keyof Providers)[];

export interface Source {
  /** As far as is known now: asked for before each choice. */
  readonly providers: () => Providers;
  /** One of them answered that it does not have the block. */
  readonly onAbsent?: (member: Member) => void;
  /** For a block that must be somewhere: how long all are asked again, and how to learn of more of them. */
  readonly again?: { readonly forMs: number; readonly learn: () => Promise<void> };
}

/** One verified block from these members; the caller releases it. @throws BlockUnavailable */
export type FetchBlock = (
  want: SizedWant,
  source: Source,
  options: { signal: AbortSignal },
) => Promise<ReceivedBlock>;

/** @param signal Ends the watching of members. */
export function createFetchBlock(
  deps: {
    readonly ask: AskStorage;
    readonly view: Pick<MemberView, 'asked' | 'onChange'>;
    readonly metrics: Metrics;
    readonly log: Log;
  },
  { signal: running }: { signal: AbortSignal },
): FetchBlock {
  const { ask, view, metrics, log } = deps;
  const ranking = createRanking();
  forgiveTheReturned(ranking, view, { signal: running });

  return async (want, { providers, onAbsent, again }, options) => {
    const { cid } = want;
    const startedAtMs = performance.now();
    const block = await raceProviders<Choice, ReceivedBlock>(
      cid,
      {
        ranking,
        nowMs: () => performance.now(),
        receive: ({ member }, { signal }) => ask(want, member, { signal }),
        next: (tried) => choose(providers(), tried, ranking),
        async findMore({ signal }) {
          if (performance.now() - startedAtMs > (again?.forMs ?? 0)) return false;
          await again?.learn();
          await sleep(RETRY_DELAY_MS, undefined, { signal }).catch(() => undefined);
          return !signal.aborted;
        },
        onEnd({ member, peerId: peer, ...why }, { outcome, ...how }) {
          if (outcome === 'verified') log.debug({ cid, peer, ...why, ...how }, 'block fetched');
          if (outcome === 'absent') {
            log.debug({ cid, peer, ...why }, 'peer does not have the block');
            onAbsent?.(member);
          }
          if (outcome === 'failed' || outcome === 'corrupt') metrics.retries.inc();
        },
        onHedge: () => metrics.hedges.inc(),
      },
      options,
    );
    metrics.fetchDuration.observe((performance.now() - startedAtMs) / 1000);
    return block;
  };
}

/** A member to ask, and why it. */
interface Choice extends Standing {
  readonly peerId: PeerId;
  readonly member: Member;
  readonly group: 'own' | keyof Providers;
  /** Of how many it was chosen. */
  readonly providers: number;
  /** The one that would have been asked in its place. */
  readonly before?: Standing & { readonly peer: PeerId; readonly group: keyof Providers };
}

/** The member to ask next. */
function choose(
  groups: Providers,
  tried: ReadonlySet<PeerId>,
  ranking: Ranking,
): Choice | undefined {
  const providers = GROUPS.flatMap((group) =>
    (groups[group] ?? []).map((member) => ({
      peerId: member.peerId,
      member,
      group,
      doubt: DOUBTS[group],
    })),
  ).filter(({ peerId }) => !tried.has(peerId));
  const nowMs = performance.now();
  const own = providers.find(({ member, doubt }) => member.isSelf && doubt === 0);
  const [first, second] = ranking.order(providers, nowMs);
  const chosen = own ?? first;
  if (chosen === undefined) return undefined;
  const passed = chosen === first ? second : first;
  const { peerId, member, group } = chosen;
  return {
    peerId,
    member,
    group: member.isSelf ? 'own' : group,
    providers: providers.length,
    ...ranking.standing(peerId, nowMs),
    ...(passed === undefined
      ? {}
      : {
          before: {
            peer: passed.peerId,
            group: passed.group,
            ...ranking.standing(passed.peerId, nowMs),
          },
        }),
  };
}

/** A member that was away may have restarted: what it did before is not held against it. */
function forgiveTheReturned(
  ranking: Ranking,
  view: Pick<MemberView, 'asked' | 'onChange'>,
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
