/**
 * The members of the swarm, as one peer sees them: a state machine without clock or network.
 *
 * A refused connection kills at once, because the process is certainly gone. A time-out only makes a
 * suspect, since we or they may be starved of CPU: a suspicion that stays unrefuted kills, or silence past
 * the time to live (SWIM, with the lesson of Lifeguard). A record from before a death does not undo it: only
 * a newer incarnation does, or one heard after.
 *
 * A relay's word keeps nobody alive, and ends nobody. A word over the member's own connection is a sign of life, and
 * so is a record that is newer than all that was seen; its date is when these bytes came here first, or earlier if the
 * member's own clock shows that it signed them earlier. The same bytes never count for any later time, however
 * young a relay says they are; one that says too great an age is put right by the next that says less.
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
/**
 * A member that others say is gone counts as down at once, and as out no sooner than this long after: time to hear of it
 * from somebody else. A minute has a dozen comparisons of tables in it.
 */
export const HEARSAY_OUT_MIN_MS = 60_000;
/** How much a member's clock may run slow by ours: NTP slews by half of this at most. */
const CLOCK_DRIFT_SHARE = 0.001;
/** A leave that was announced is likely to be meant: repair waits this many times longer. */
export const LEAVE_GRACE_FACTOR = 3;

/** A member with what only the table needs; `S` is the signed form, relayed verbatim. */
export interface KnownMember<S> {
  readonly record: MemberRecord;
  readonly signed: S;
  readonly state: MemberState;
  /** When it was first heard of here; -Infinity of one from an earlier run. */
  readonly metAtMs: number;
  /**
   * The latest moment at which the newest record can have been signed; undefined of an earlier run, until somebody
   * says that the member lives.
   */
  readonly signedByMs: number | undefined;
  /** It spoke to us itself, or signed a newer record than the first that we had of it. */
  readonly isProven: boolean;
  /** When we last had a sign of life, by record or by answer. */
  readonly heardAtMs: number;
  /** When it became a suspect; undefined while it is none. */
  readonly suspectAtMs: number | undefined;
  /** The record under which it did not answer: only a newer one clears it. */
  readonly suspectUnder?: RecordOrder | undefined;
  /** When it went down; undefined while it is up. */
  readonly downAtMs: number | undefined;
  /** It went down by what was seen here, and not by hearsay: then nothing from before brings it back. */
  readonly isSeenDown: boolean;
}

/** Orders the records of one peer. */
export type RecordOrder = Pick<MemberRecord, 'incarnation' | 'seq'>;

/** A record, and what is said of the moment in which it was young. */
export interface RecordNews {
  readonly record: MemberRecord;
  /** The word of a relay makes a record older than it can be otherwise, never younger. */
  readonly seenAtMs: number;
  /** The member itself said it, just now, over its own connection. */
  readonly isDirect?: boolean;
  /** The peer that relays it takes the member for gone. */
  readonly isSaidGone?: boolean;
  /** It is from an earlier run of ours. */
  readonly isRestored?: boolean;
}

/** The effect of a record: `stale` nothing, `refreshed` figures only, the rest a change worth reporting. */
export type Learnt = 'stale' | 'refreshed' | 'updated' | 'joined' | 'returned' | 'left';

export interface MemberTableSettings {
  readonly self: PeerId;
  /** Silence after which a member counts as down; `isProven` as in `KnownMember`. */
  readonly ttlMs: (peerId: PeerId, isProven: boolean) => number;
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
  isNews(news: RecordNews): boolean {
    const { record, isDirect = false, isSaidGone = false } = news;
    if (record.peerId === this.#settings.self) return false;
    const old = this.#members.get(record.peerId);
    if (old === undefined) return true;
    const order = compareRecords(record, old.record);
    if (order !== 0) return order > 0;
    if (isSaidGone && !isDirect) return false;
    const provenMs = isDirect ? news.seenAtMs : livedAt(news, old.signedByMs ?? Infinity);
    if (old.downAtMs === undefined || isDirect) return provenMs > old.heardAtMs;
    return !old.isSeenDown || provenMs > old.downAtMs + DEATH_SLACK_MS;
  }

  learn(news: RecordNews & { readonly signed: S }, nowMs: number): Learnt {
    const { record, signed, isDirect = false, isRestored = false } = news;
    const { peerId } = record;
    const isSaidGone = news.isSaidGone === true && !isDirect;
    const said = { ...news, seenAtMs: Math.min(news.seenAtMs, nowMs) };
    if (!this.isNews(said)) return 'stale';
    const old = this.#members.get(peerId);
    const signedByMs = isDirect ? nowMs : signedBy(record, { old, nowMs });
    const seenAtMs = livedAt(said, signedByMs);
    const isProven = isDirect || (old !== undefined && isProvenBy(old, record));
    const isFresh =
      nowMs - seenAtMs <= this.#settings.ttlMs(peerId, isProven) && !record.leaving && !isSaidGone;
    if (old === undefined) {
      if (!this.#makeRoom()) return 'stale';
      this.#put(
        {
          record,
          signed,
          metAtMs: isRestored ? -Infinity : nowMs,
          signedByMs: isRestored ? undefined : signedByMs,
          isProven,
          heardAtMs: seenAtMs,
          suspectAtMs: undefined,
          state: isFresh ? 'alive' : stateOfGone(record),
          downAtMs: isFresh ? undefined : seenAtMs,
          isSeenDown: false,
        },
        true,
      );
      return isFresh ? 'joined' : 'updated';
    }
    const isStillUnheard =
      old.signedByMs === undefined && !isFresh && compareRecords(record, old.record) === 0;
    const sign = {
      isFresh,
      isProven,
      seenAtMs,
      signedByMs: isStillUnheard ? undefined : signedByMs,
      nowMs,
    };
    const { member, isChange, learnt } = afterNews(old, { record, signed }, sign);
    this.#put(member, isChange);
    return learnt;
  }

  /** A time-out: alive becomes suspect. */
  suspect(peerId: PeerId, nowMs: number): boolean {
    const member = this.#members.get(peerId);
    if (member?.state !== 'alive') return false;
    this.#change(peerId, { state: 'suspect', suspectAtMs: nowMs, suspectUnder: member.record });
    return true;
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
    this.#put({ ...member, heardAtMs, isProven: true, ...cleared }, isCleared);
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
      const isSilent = nowMs - heardAtMs > ttlMs(peerId, member.isProven);
      if (downAtMs === undefined && (isSilent || nowMs - suspectAtMs > suspicionMs(peerId))) {
        this.#change(peerId, goneAt(nowMs));
        changed.push(peerId);
      }
      if (downAtMs !== undefined && state === 'down' && nowMs > this.#outAtMs(member, downAtMs)) {
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
    return this.#outAtMs(member, member.downAtMs);
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

  #outAtMs({ record, metAtMs, isSeenDown }: KnownMember<S>, downAtMs: number): number {
    const graceMs = this.#settings.outAfterMs * (record.leaving ? LEAVE_GRACE_FACTOR : 1);
    return Math.max(
      downAtMs + graceMs,
      isSeenDown ? 0 : metAtMs + Math.min(this.#settings.outAfterMs, HEARSAY_OUT_MIN_MS),
    );
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

/** When the member lived at the latest, by a relay's word and a bound on when the record was signed. */
const livedAt = ({ seenAtMs }: Pick<RecordNews, 'seenAtMs'>, signedByMs: number): number =>
  Math.min(seenAtMs, signedByMs);

/** The latest moment at which a record that comes by way of others can have been signed. */
function signedBy<S>(
  record: MemberRecord,
  { old, nowMs }: { readonly old: KnownMember<S> | undefined; readonly nowMs: number },
): number {
  if (old === undefined) return nowMs;
  if (compareRecords(record, old.record) === 0) return old.signedByMs ?? nowMs;
  const { atMs } = record;
  const beforeMs = old.record.atMs;
  // A clock that was set back tells nothing.
  if (old.signedByMs === undefined || beforeMs === undefined || atMs === undefined) return nowMs;
  if (atMs < beforeMs) return nowMs;
  return Math.min(nowMs, old.signedByMs + (atMs - beforeMs) * (1 + CLOCK_DRIFT_SHARE));
}

const isProvenBy = <S>(old: KnownMember<S>, record: MemberRecord): boolean =>
  old.isProven || (old.signedByMs !== undefined && compareRecords(record, old.record) > 0);

/** The state of a known member after a newer record, or after the same from a better source. */
function afterNews<S>(
  old: KnownMember<S>,
  { record, signed }: { readonly record: MemberRecord; readonly signed: S },
  sign: {
    readonly isFresh: boolean;
    readonly isProven: boolean;
    readonly seenAtMs: number;
    readonly signedByMs: number | undefined;
    readonly nowMs: number;
  },
): { readonly member: KnownMember<S>; readonly isChange: boolean; readonly learnt: Learnt } {
  const { isFresh, isProven, seenAtMs, signedByMs, nowMs } = sign;
  const base = {
    record,
    signed,
    metAtMs: old.metAtMs,
    signedByMs,
    isProven,
    heardAtMs: Math.max(seenAtMs, old.heardAtMs),
    suspectAtMs: undefined,
    isSeenDown: old.isSeenDown,
  };
  if (old.downAtMs !== undefined) {
    const isReborn = record.incarnation > old.record.incarnation;
    const isAfterDeath = isReborn || !old.isSeenDown || seenAtMs > old.downAtMs + DEATH_SLACK_MS;
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
