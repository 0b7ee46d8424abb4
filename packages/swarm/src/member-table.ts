/**
 * The members of the swarm, as one peer sees them: a state machine without clock or network.
 *
 * A refused connection kills at once, because the process is certainly gone. A time-out only makes a
 * suspect, since we or they may be starved of CPU; silence past the time to live decides (the lesson
 * of Lifeguard for SWIM). Records travel with their age, so a relay can't make one look younger, and
 * a record from before a death does not undo it: only a newer incarnation does, or one heard after.
 *
 * Times are milliseconds of one monotonic clock that the caller reads.
 */
import type { Member, MemberRecord, MemberState, PeerId } from '@shoal/protocol';

/**
 * Members kept at most; the table is meant for some hundreds (DESIGN §14).
 * Past it: the one that is down for longest goes; without one, the newcomer is not taken in.
 */
export const MEMBERS_MAX = 1024;
/** A record that was under way while its sender died may arrive this much after the death. */
export const DEATH_SLACK_MS = 1000;
/** A leave that was announced is likely to be meant: repair waits this many times longer. */
export const LEAVE_GRACE_FACTOR = 3;

/** A member with what only the table needs; `S` is the signed form, relayed verbatim. */
export interface KnownMember<S> {
  readonly record: MemberRecord;
  readonly signed: S;
  readonly state: MemberState;
  /** When the newest record was young: now minus its age. */
  readonly seenAtMs: number;
  /** When we last had a sign of life, by record or by answer. */
  readonly heardAtMs: number;
  /** When it went down; undefined while it is up. */
  readonly downAtMs: number | undefined;
}

/** The effect of a record: `stale` nothing, `refreshed` figures only, the rest a change worth reporting. */
export type Learnt = 'stale' | 'refreshed' | 'updated' | 'joined' | 'returned' | 'left';

export interface MemberTable<S> {
  /** Grows whenever a state changes, or something in a record that placement or dialling uses. */
  readonly version: () => number;
  learn(news: { record: MemberRecord; signed: S; seenAtMs: number }, nowMs: number): Learnt;
  /** Whether a record would change anything: asked before the costly check of its signature. */
  isNews(news: { record: MemberRecord; seenAtMs: number }): boolean;
  /** A time-out: alive becomes suspect. */
  suspect(peerId: PeerId): boolean;
  /** A refusal: the process of this incarnation is gone. */
  declareDown(peerId: PeerId, incarnation: number, nowMs: number): boolean;
  /** It answered: a suspect is alive again; never revives a member that is down. */
  hear(peerId: PeerId, nowMs: number): boolean;
  /** Lets time do its work; answers whose state changed. */
  tick(nowMs: number): PeerId[];
  /** Of a member that is down: how long until it counts as out. */
  outInMs(peerId: PeerId, nowMs: number): number | undefined;
  /** We ourselves stood still this long: nobody may be blamed for the silence. */
  forgive(pausedMs: number): void;
  get(peerId: PeerId): KnownMember<S> | undefined;
  /** All members but ourselves. */
  all(): KnownMember<S>[];
}

export function createMemberTable<S>(settings: {
  readonly self: PeerId;
  /** Silence after which a member counts as down. */
  readonly ttlMs: () => number;
  /** Time after which a member that is down counts as out. */
  readonly outAfterMs: number;
  /** First version; start it past those of earlier runs, so that no waiter of theirs hangs. */
  readonly version: number;
  readonly membersMax?: number;
}): MemberTable<S> {
  const { self, ttlMs, outAfterMs, membersMax = MEMBERS_MAX } = settings;
  const members = new Map<PeerId, KnownMember<S>>();
  let version = settings.version;

  const put = (member: KnownMember<S>, isChange: boolean): void => {
    members.set(member.record.peerId, member);
    if (isChange) version += 1;
  };
  const change = (peerId: PeerId, part: Partial<KnownMember<S>>): void => {
    const old = members.get(peerId);
    if (old !== undefined) put({ ...old, ...part }, true);
  };
  const makeRoom = (): boolean => {
    if (members.size < membersMax) return true;
    const gone = [...members.values()].filter(({ downAtMs }) => downAtMs !== undefined);
    const oldest = gone.toSorted((a, b) => Number(a.downAtMs) - Number(b.downAtMs))[0];
    return oldest !== undefined && members.delete(oldest.record.peerId);
  };

  const graceOf = ({ leaving }: MemberRecord) => outAfterMs * (leaving ? LEAVE_GRACE_FACTOR : 1);

  return {
    version: () => version,
    get: (peerId) => members.get(peerId),
    all: () => [...members.values()],
    isNews({ record, seenAtMs }) {
      if (record.peerId === self) return false;
      const old = members.get(record.peerId);
      if (old === undefined) return true;
      const order = compareRecords(record, old.record);
      return order > 0 || (order === 0 && seenAtMs > old.seenAtMs);
    },
    learn(news, nowMs) {
      const { record, signed } = news;
      const seenAtMs = Math.min(news.seenAtMs, nowMs);
      if (!this.isNews({ record, seenAtMs })) return 'stale';
      const isFresh = nowMs - seenAtMs <= ttlMs() && !record.leaving;
      const old = members.get(record.peerId);
      if (old === undefined) {
        if (!makeRoom()) return 'stale';
        const state = isFresh ? 'alive' : stateOfGone(record);
        const downAtMs = isFresh ? undefined : seenAtMs;
        put({ record, signed, state, seenAtMs, heardAtMs: seenAtMs, downAtMs }, true);
        return isFresh ? 'joined' : 'updated';
      }
      const { member, isChange, learnt } = afterNews(old, news, { isFresh, seenAtMs, nowMs });
      put(member, isChange);
      return learnt;
    },
    suspect(peerId) {
      if (members.get(peerId)?.state !== 'alive') return false;
      change(peerId, { state: 'suspect' });
      return true;
    },
    declareDown(peerId, incarnation, nowMs) {
      const member = members.get(peerId);
      if (member === undefined || member.downAtMs !== undefined) return false;
      if (member.record.incarnation !== incarnation) return false;
      change(peerId, { state: 'down', downAtMs: nowMs });
      return true;
    },
    hear(peerId, nowMs) {
      const member = members.get(peerId);
      if (member === undefined || member.downAtMs !== undefined) return false;
      const isCleared = member.state === 'suspect';
      put({ ...member, heardAtMs: Math.max(nowMs, member.heardAtMs), state: 'alive' }, isCleared);
      return isCleared;
    },
    tick(nowMs) {
      const changed: PeerId[] = [];
      for (const { record, state, heardAtMs, downAtMs } of members.values()) {
        const { peerId } = record;
        if (downAtMs === undefined && nowMs - heardAtMs > ttlMs()) {
          change(peerId, { state: 'down', downAtMs: nowMs });
          changed.push(peerId);
        }
        if (downAtMs !== undefined && state === 'down' && nowMs - downAtMs > graceOf(record)) {
          change(peerId, { state: 'out' });
          changed.push(peerId);
        }
      }
      return changed;
    },
    outInMs(peerId, nowMs) {
      const member = members.get(peerId);
      if (member?.state !== 'down' || member.downAtMs === undefined) return undefined;
      return Math.max(0, Math.ceil(member.downAtMs + graceOf(member.record) - nowMs));
    },
    forgive(pausedMs) {
      for (const [peerId, member] of members)
        if (member.downAtMs === undefined)
          members.set(peerId, { ...member, heardAtMs: member.heardAtMs + pausedMs });
    },
  };
}

/** The state of a known member after a newer record. */
function afterNews<S>(
  old: KnownMember<S>,
  { record, signed }: { readonly record: MemberRecord; readonly signed: S },
  {
    isFresh,
    seenAtMs,
    nowMs,
  }: { readonly isFresh: boolean; readonly seenAtMs: number; readonly nowMs: number },
): { readonly member: KnownMember<S>; readonly isChange: boolean; readonly learnt: Learnt } {
  const base = {
    record,
    signed,
    seenAtMs: Math.max(seenAtMs, old.seenAtMs),
    heardAtMs: Math.max(seenAtMs, old.heardAtMs),
  };
  if (old.downAtMs !== undefined) {
    const isReborn = record.incarnation > old.record.incarnation;
    const isAfterDeath = isReborn || seenAtMs > old.downAtMs + DEATH_SLACK_MS;
    const isBack = isFresh && isAfterDeath;
    const state = isBack ? 'alive' : stateOfGone(record, old.state);
    const downAtMs = isBack ? undefined : old.downAtMs;
    const isChange = state !== old.state || isMaterial(old.record, record);
    return {
      member: { ...base, state, downAtMs },
      isChange,
      learnt: isBack ? 'returned' : 'refreshed',
    };
  }
  if (record.leaving) {
    const member = { ...base, state: stateOfGone(record), downAtMs: nowMs };
    return { member, isChange: true, learnt: 'left' };
  }
  const isCleared = old.state === 'suspect' && isFresh && compareRecords(record, old.record) > 0;
  const state = isCleared ? 'alive' : old.state;
  const isChange = isCleared || isMaterial(old.record, record);
  const member = { ...base, state, downAtMs: undefined };
  return { member, isChange, learnt: isChange ? 'updated' : 'refreshed' };
}

/** The order of two records of one peer: above 0 when `a` is the newer. */
export function compareRecords(a: MemberRecord, b: MemberRecord): number {
  return a.incarnation - b.incarnation || a.seq - b.seq;
}

/** A known member in the form that the contract gives out. */
export function toMember<S>(
  { record, state, seenAtMs, downAtMs }: KnownMember<S>,
  nowMs: number,
  outInMs?: number,
): Member {
  return {
    ...record,
    state,
    isSelf: false,
    seenMsAgo: ageOf(seenAtMs, nowMs),
    ...(downAtMs === undefined ? {} : { goneForMs: ageOf(downAtMs, nowMs) }),
    ...(outInMs === undefined ? {} : { outInMs }),
  };
}

/** Whole milliseconds, never of the future, and never more than a number can hold. */
const ageOf = (atMs: number, nowMs: number) =>
  Math.min(Number.MAX_SAFE_INTEGER, Math.max(0, Math.round(nowMs - atMs)));

/** A peer that handed everything over and said good-bye is not coming back: nobody waits for it. */
function stateOfGone(record: MemberRecord, otherwise: MemberState = 'down'): MemberState {
  return record.leaving && record.draining ? 'out' : otherwise;
}

/** Whether the difference matters to those who place on this member or dial it. */
function isMaterial(a: MemberRecord, b: MemberRecord): boolean {
  const facts = (record: MemberRecord) => {
    const { incarnation, http, libp2p, domain, capacityBytes, leaving, draining } = record;
    return JSON.stringify([incarnation, http, libp2p, domain, capacityBytes, leaving, draining]);
  };
  return facts(a) !== facts(b);
}
