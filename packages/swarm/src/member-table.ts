/**
 * The members of the swarm, as one peer sees them: a state machine without clock or network.
 *
 * A refused connection kills at once, because the process is certainly gone. A time-out only makes a
 * suspect, since we or they may be starved of CPU: a suspicion that stays unrefuted kills, or silence past
 * the time to live (SWIM, with the lesson of Lifeguard). A record from before a death does not undo it: only
 * a newer incarnation does, or one heard after. Relayed word keeps nobody alive: it takes a record that
 * the member signed since, or what it said itself.
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
  /** When the newest record was young, as far as we know. */
  readonly seenAtMs: number;
  /** When we last had a sign of life, by record or by answer. */
  readonly heardAtMs: number;
  /** When it became a suspect; undefined while it is none. */
  readonly suspectAtMs: number | undefined;
  /** The newest record under which it did not answer: only a newer one clears it. */
  readonly suspectUnder?: RecordOrder | undefined;
  /** When it went down; undefined while it is up. */
  readonly downAtMs: number | undefined;
  /** It went down by what was seen here, and not by hearsay: see `isNews`. */
  readonly isSeenDown: boolean;
}

/** Orders the records of one peer. */
export type RecordOrder = Pick<MemberRecord, 'incarnation' | 'seq'>;

/** A record, and what is known of the moment in which it was young. */
export interface RecordNews {
  readonly record: MemberRecord;
  readonly seenAtMs: number;
  /** The member itself said it, just now, over its own connection. */
  readonly isDirect?: boolean;
  /** The peer that relays it takes the member for gone. */
  readonly isSaidGone?: boolean;
}

/** The effect of a record: `stale` nothing, `refreshed` figures only, the rest a change worth reporting. */
export type Learnt = 'stale' | 'refreshed' | 'updated' | 'joined' | 'returned' | 'left';

export interface MemberTableSettings {
  readonly self: PeerId;
  /** Silence after which a member counts as down. */
  readonly ttlMs: (peerId: PeerId) => number;
  /** Time after which a suspect that nothing was heard of counts as down. */
  readonly suspicionMs?: (peerId: PeerId) => number;
  /** Time after which a member that is down counts as out. */
  readonly outAfterMs: number;
  /** First version; start it past those of earlier runs, so that no waiter of theirs hangs. */
  readonly version: number;
  readonly membersMax?: number;
}

export class MemberTable<S> {
  readonly #settings: Required<MemberTableSettings>;
  readonly #members = new Map<PeerId, KnownMember<S>>();
  #version: number;

  constructor(settings: MemberTableSettings) {
    this.#settings = { suspicionMs: () => Infinity, membersMax: MEMBERS_MAX, ...settings };
    this.#version = settings.version;
  }

  /** Grows whenever a state changes, or something in a record that placement or dialling uses. */
  version(): number {
    return this.#version;
  }

  get(peerId: PeerId): KnownMember<S> | undefined {
    return this.#members.get(peerId);
  }

  /** All members but ourselves. */
  all(): KnownMember<S>[] {
    return [...this.#members.values()];
  }

  /** How many they are. */
  size(): number {
    return this.#members.size;
  }

  /** Whether a record would change anything: asked before the costly check of its signature. */
  isNews({ record, seenAtMs, isDirect = false }: RecordNews): boolean {
    if (record.peerId === this.#settings.self) return false;
    const old = this.#members.get(record.peerId);
    if (old === undefined) return true;
    const order = compareRecords(record, old.record);
    // The same record again, from somebody else, says no more than before; else a relay could keep a dead
    // member alive with it. Of one that is only known from an earlier run any word is better than none.
    const isHearsay = old.downAtMs !== undefined && !old.isSeenDown;
    return order > 0 || (order === 0 && (isDirect || isHearsay) && seenAtMs > old.heardAtMs);
  }

  learn(news: RecordNews & { readonly signed: S }, nowMs: number): Learnt {
    const { record, signed, isSaidGone = false } = news;
    const { peerId } = record;
    const seenAtMs = Math.min(news.seenAtMs, nowMs);
    if (!this.isNews({ ...news, seenAtMs })) return 'stale';
    const isFresh =
      nowMs - seenAtMs <= this.#settings.ttlMs(peerId) && !record.leaving && !isSaidGone;
    const old = this.#members.get(peerId);
    if (old === undefined) {
      if (!this.#makeRoom()) return 'stale';
      const state = isFresh ? 'alive' : stateOfGone(record);
      const downAtMs = isFresh ? undefined : seenAtMs;
      const base = { record, signed, seenAtMs, heardAtMs: seenAtMs, suspectAtMs: undefined };
      this.#put({ ...base, state, downAtMs, isSeenDown: false }, true);
      return isFresh ? 'joined' : 'updated';
    }
    const { member, isChange, learnt } = afterNews(old, news, { isFresh, seenAtMs, nowMs });
    this.#put(member, isChange);
    return learnt;
  }

  /** A time-out: alive becomes suspect. @param under The record that somebody else had of it, if that is newer. */
  suspect(peerId: PeerId, nowMs: number, under?: RecordOrder): boolean {
    const member = this.#members.get(peerId);
    if (member?.state !== 'alive' && member?.state !== 'suspect') return false;
    const { record, state, suspectUnder = record } = member;
    const isNewer = under !== undefined && compareRecords(under, suspectUnder) > 0;
    const order = isNewer ? under : suspectUnder;
    if (state === 'alive')
      this.#change(peerId, { state: 'suspect', suspectAtMs: nowMs, suspectUnder: order });
    else if (isNewer) this.#put({ ...member, suspectUnder: order }, false);
    return state === 'alive';
  }

  /** A refusal: the process of this incarnation is gone. */
  declareDown(peerId: PeerId, incarnation: number, nowMs: number): boolean {
    const member = this.#members.get(peerId);
    if (member === undefined || member.downAtMs !== undefined) return false;
    if (member.record.incarnation !== incarnation) return false;
    this.#change(peerId, goneAt(nowMs));
    return true;
  }

  /** It answered: a suspect is alive again; never revives a member that is down. */
  hear(peerId: PeerId, nowMs: number): boolean {
    const member = this.#members.get(peerId);
    if (member === undefined || member.downAtMs !== undefined) return false;
    const isCleared = member.state === 'suspect';
    const heardAtMs = Math.max(nowMs, member.heardAtMs);
    const cleared = { state: 'alive', suspectAtMs: undefined, suspectUnder: undefined } as const;
    this.#put({ ...member, heardAtMs, ...cleared }, isCleared);
    return isCleared;
  }

  /** It belongs to the swarm no more: nothing is known of it from now on. */
  remove(peerId: PeerId): boolean {
    const isKnown = this.#members.delete(peerId);
    if (isKnown) this.#version += 1;
    return isKnown;
  }

  /** Lets time do its work; answers whose state changed. */
  tick(nowMs: number): PeerId[] {
    const { ttlMs, suspicionMs } = this.#settings;
    const changed: PeerId[] = [];
    for (const member of this.#members.values()) {
      const { record, state, heardAtMs, suspectAtMs = Infinity, downAtMs } = member;
      const { peerId } = record;
      const isSilent = nowMs - heardAtMs > ttlMs(peerId);
      if (downAtMs === undefined && (isSilent || nowMs - suspectAtMs > suspicionMs(peerId))) {
        this.#change(peerId, goneAt(nowMs));
        changed.push(peerId);
      }
      if (downAtMs !== undefined && state === 'down' && nowMs - downAtMs > this.#graceOf(record)) {
        this.#change(peerId, { state: 'out' });
        changed.push(peerId);
      }
    }
    return changed;
  }

  /** Of a member that is down: how long until it counts as out. */
  outInMs(peerId: PeerId, nowMs: number): number | undefined {
    const outAtMs = this.outAtMs(peerId);
    return outAtMs === undefined ? undefined : Math.max(0, Math.ceil(outAtMs - nowMs));
  }

  /** Of a member that is down: when it counts as out. */
  outAtMs(peerId: PeerId): number | undefined {
    const member = this.#members.get(peerId);
    if (member?.state !== 'down' || member.downAtMs === undefined) return undefined;
    return member.downAtMs + this.#graceOf(member.record);
  }

  /** We ourselves stood still this long: nobody may be blamed for the silence. */
  forgive(pausedMs: number): void {
    for (const [peerId, member] of this.#members)
      if (member.downAtMs === undefined) {
        const { heardAtMs, suspectAtMs } = member;
        const later = suspectAtMs === undefined ? undefined : suspectAtMs + pausedMs;
        this.#members.set(peerId, {
          ...member,
          heardAtMs: heardAtMs + pausedMs,
          suspectAtMs: later,
        });
      }
  }

  #put(member: KnownMember<S>, isChange: boolean): void {
    this.#members.set(member.record.peerId, member);
    if (isChange) this.#version += 1;
  }

  #change(peerId: PeerId, part: Partial<KnownMember<S>>): void {
    const old = this.#members.get(peerId);
    if (old !== undefined) this.#put({ ...old, ...part }, true);
  }

  #makeRoom(): boolean {
    if (this.#members.size < this.#settings.membersMax) return true;
    const gone = this.all().filter(({ downAtMs }) => downAtMs !== undefined);
    const oldest = gone.toSorted((a, b) => Number(a.downAtMs) - Number(b.downAtMs))[0];
    return oldest !== undefined && this.#members.delete(oldest.record.peerId);
  }

  #graceOf({ leaving }: MemberRecord): number {
    return this.#settings.outAfterMs * (leaving ? LEAVE_GRACE_FACTOR : 1);
  }
}

const goneAt = (nowMs: number) =>
  ({
    state: 'down',
    downAtMs: nowMs,
    suspectAtMs: undefined,
    suspectUnder: undefined,
    isSeenDown: true,
  }) as const;

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
  const isNewer = compareRecords(record, old.record) > 0;
  const base = {
    record,
    signed,
    seenAtMs: isNewer ? seenAtMs : old.seenAtMs,
    heardAtMs: Math.max(seenAtMs, old.heardAtMs),
    suspectAtMs: undefined,
    isSeenDown: old.isSeenDown,
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
    const member = { ...base, state: stateOfGone(record), downAtMs: nowMs, isSeenDown: true };
    return { member, isChange: true, learnt: 'left' };
  }
  const isRefuted = compareRecords(record, old.suspectUnder ?? old.record) > 0;
  const isCleared = old.state === 'suspect' && isFresh && isRefuted;
  const state = isCleared ? 'alive' : old.state;
  const isChange = isCleared || isMaterial(old.record, record);
  const { suspectAtMs, suspectUnder } = isCleared ? {} : old;
  const member = { ...base, state, suspectAtMs, suspectUnder, downAtMs: undefined };
  return { member, isChange, learnt: isChange ? 'updated' : 'refreshed' };
}

/** The order of two records of one peer: above 0 when `a` is the newer. */
export function compareRecords(a: RecordOrder, b: RecordOrder): number {
  return a.incarnation - b.incarnation || a.seq - b.seq;
}

/** A known member in the form that the contract gives out. */
export function toMember<S>(
  { record, state, heardAtMs, downAtMs }: KnownMember<S>,
  nowMs: number,
  outInMs?: number,
): Member {
  return {
    ...record,
    state,
    isSelf: false,
    seenMsAgo: ageOf(heardAtMs, nowMs),
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
