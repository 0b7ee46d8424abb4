/**
 * Where a file stands, by what the members said last: a number of copies with its date, a state, and why.
 *
 * A member that is up and answered counts as it said. One that is up and did not answer counts as it said
 * before, and the number is dated back to that: a list must not call a copy lost because a member is busy.
 * If that is too old, or there is nothing to go by, the state is "unknown" and names the members that did
 * not answer. It is also "unknown" for a moment after our own start, until a member sent us its table, and while
 * this process stands aside for a twin.
 * A member that is down does not count, as its copies can't be read; what it said last explains why copies
 * are missing.
 *
 * A file with enough confirmed copies is safe, even while other members are silent.
 *
 * A member that failed to prove blocks of the file, or is distrusted because it failed others, does not
 * count at all.
 */
import {
  CAUSE_PEERS_MAX,
  type FileCause,
  type FileState,
  type Member,
  keepsCopies,
  type PeerId,
  type Pin,
  takesCopies,
} from '@shoal/protocol';
import { type Copies, countCopies, type Holding } from './count-copies.ts';
import type { Holders, Statement } from '../holders/holders.ts';

/** An older answer says nothing about now. */
export const ANSWER_AGE_MAX_MS = 10_000;

/** The state of a file at one moment. */
export interface Standing extends Copies {
  readonly state: FileState;
  readonly causes: FileCause[];
  /** When the oldest answer that counts was given, on the table's clock; undefined without any. */
  readonly atMs: number | undefined;
  /** The answers that count, and when they were given. */
  readonly holdings: readonly DatedHolding[];
  /** Those of members that could not prove what they said. */
  readonly unproved: readonly DatedHolding[];
}

type DatedHolding = Holding & { readonly atMs: number };

export interface StandingDeps {
  readonly holders: Pick<Holders, 'last'>;
  /** All members, ourselves included. */
  readonly members: readonly Member[];
  /** Whether a member that is not known to be down can answer at all; if not, its copies may be gone too. */
  readonly isReachable: (member: Member) => boolean;
  /** Whether this peer was just started and has not heard from the others yet. */
  readonly isJoining: boolean;
  /** Gateway of the twin for which this peer stands aside, and so can ask nobody. */
  readonly asideFor?: string | undefined;
  /** Whether a pin is so young that its first copies may be under way. */
  readonly isYoung: (pin: Pin) => boolean;
  /** How long ago a pin came, if that was seen here. */
  readonly knownForMs: (pin: Pin) => number | undefined;
  /** On the table's clock. */
  readonly nowMs: number;
  /** From when on copies of a member that is down are made anew, by our wall clock. */
  readonly repairFromMs: (member: Member) => number;
  /** How old an answer may be to count as one about now. */
  readonly ageMaxMs?: number;
}

interface Said {
  readonly member: Member;
  readonly last: Statement | undefined;
}

export function standingOf(pin: Pin, deps: StandingDeps): Standing {
  const { holders, members, nowMs, isReachable, ageMaxMs = ANSWER_AGE_MAX_MS } = deps;
  const said = members.map((member): Said => ({
    member,
    last: holders.last(pin.root, member.peerId),
  }));
  const up = said.filter(({ member: { state } }) => state === 'alive' || state === 'suspect');
  const here = up.filter((each) => !isUnproved(each));
  const refuted = up.filter((each) => isUnproved(each) && isHolder(pin, each.last));
  const unproved = holdingsOf(pin, refuted);
  const domains = new Map(members.map(({ peerId, domain }) => [peerId, domain]));
  const count = (all: readonly Said[]): Copies & Pick<Standing, 'holdings'> => {
    const holdings = holdingsOf(pin, all);
    return { ...countCopies(pin.blocks, holdings, (peerId) => domains.get(peerId)), holdings };
  };
  const isFresh = ({ member, last }: Said) =>
    last?.isCurrent === true && nowMs - last.atMs <= ageMaxMs && isReachable(member);
  const fresh = here.filter(isFresh);
  const silent = here.filter((each) => !isFresh(each));
  const confirmed = count(fresh);
  // If so, more copies at silent members change nothing.
  const isEnough = confirmed.copies >= pin.replicas;
  const counted = isEnough || silent.length === 0 ? confirmed : count(here);
  // Enough copies rest on the members that have some: one that has none changes nothing about that.
  const counting = isEnough ? fresh.filter(({ last }) => isHolder(pin, last)) : here;
  const dates = counting.flatMap(({ last }) => (last === undefined ? [] : [last.atMs]));
  const atMs = dates.length === 0 ? undefined : Math.min(...dates);
  if (isEnough) return { ...counted, unproved, atMs, state: 'safe', causes: [] };
  if (deps.asideFor !== undefined) {
    const causes: FileCause[] = [{ kind: 'aside', gateway: deps.asideFor }];
    return { ...counted, unproved, atMs, state: 'unknown', causes };
  }
  // Members that it remembers may be up or gone; neither counts before one of them answered.
  if (deps.isJoining)
    return { ...counted, unproved, atMs, state: 'unknown', causes: [{ kind: 'joining' }] };
  if (silent.length > 0) {
    const unanswered = silent.map(({ member }) => member.peerId);
    const causes: FileCause[] = [
      { kind: 'unanswered', ...named(unanswered) },
      ...tooMany(pin, said),
    ];
    return { ...counted, unproved, atMs, state: 'unknown', causes };
  }
  const why = whyFewer(pin, counted.copies, said, refuted, deps);
  return { ...counted, unproved, atMs, ...why };
}

/** The state of a file for which all members that are up answered, with too few copies. */
function whyFewer(
  pin: Pin,
  copies: number,
  said: readonly Said[],
  refuted: readonly Said[],
  { isYoung, knownForMs, repairFromMs }: StandingDeps,
): Pick<Standing, 'state' | 'causes'> {
  const placeable = countTakers(pin, said);
  const limits = tooMany(pin, said);
  const pinForMs = knownForMs(pin);
  const away = said.filter((each) => each.member.state === 'down' && mayHold(pin, each, pinForMs));
  const gone = said.filter((each) => each.member.state === 'out' && isHolder(pin, each.last));
  const causes: FileCause[] = [];
  if (away.length > 0) {
    const soonestMs = Math.min(...away.map(({ member }) => repairFromMs(member)));
    const peers = named(away.map(({ member }) => member.peerId));
    causes.push({ kind: 'away', ...peers, repairFromMs: soonestMs });
  }
  if (gone.length > 0 && copies < placeable)
    causes.push({ kind: 'gone', ...named(gone.map(({ member }) => member.peerId)) });
  if (refuted.length > 0)
    causes.push({ kind: 'unproved', ...named(refuted.map(({ member }) => member.peerId)) });
  if (causes.length === 0 && copies < placeable && isYoung(pin)) causes.push({ kind: 'new' });
  causes.push(...limits);
  const isReduced = causes.some(
    ({ kind }) => kind === 'away' || kind === 'gone' || kind === 'unproved',
  );
  // Copies at a peer that is away can't be read now, and are not lost.
  if (copies === 0 && away.length === 0) return { state: 'missing', causes };
  if (isReduced) return { state: 'reduced', causes };
  if (causes.some(({ kind }) => kind === 'new')) return { state: 'spreading', causes };
  if (limits.length > 0 && copies >= placeable) return { state: 'limited', causes };
  return { state: 'at-risk', causes };
}

/**
 * The cause that a file asks for more copies than peers can take now, which may come with any other. One that is away
 * takes none until it returns: copies that it has are safe there, and can't be replaced before another peer comes.
 */
function tooMany(pin: Pin, said: readonly Said[]): FileCause[] {
  const count = countTakers(pin, said);
  return pin.replicas > count ? [{ kind: 'few-peers', count }] : [];
}

/** Those that can have a copy now; one that is full keeps the one that it has. */
const countTakers = (pin: Pin, said: readonly Said[]): number =>
  said.filter(
    ({ member, last }) => takesCopies(member) || (keepsCopies(member) && isHolder(pin, last)),
  ).length;

/** It could not prove blocks of this file, or is distrusted for those of others. */
const isUnproved = ({ member, last }: Said): boolean =>
  !member.isSelf && (member.isDistrusted === true || last?.proof?.isProved === false);

function holdingsOf(pin: Pin, all: readonly Said[]): DatedHolding[] {
  return all.flatMap(({ member: { peerId }, last }) =>
    last?.haveMap === undefined || last.haveMap.blocks !== pin.blocks
      ? []
      : [{ peerId, haveMap: last.haveMap, atMs: last.atMs }],
  );
}

/** Whether it holds some of the file, by what it said last. */
const isHolder = (pin: Pin, last: Statement | undefined): boolean =>
  last?.haveMap !== undefined && last.haveMap.blocks === pin.blocks;

/** The same, or it was never asked; it can't hold a file that came after it left. */
function mayHold(pin: Pin, { member, last }: Said, pinForMs: number | undefined): boolean {
  if (last !== undefined) return isHolder(pin, last);
  return pinForMs === undefined || (member.goneForMs ?? 0) < pinForMs;
}

const named = (peers: readonly PeerId[]) => ({
  peers: peers.slice(0, CAUSE_PEERS_MAX),
  count: peers.length,
});
