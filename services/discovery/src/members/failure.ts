/**
 * The failure detector: SWIM, with connections. A connection that closes is followed by one call back: refused means
 * that the process is gone, anything else only raises a suspicion. Each turn the member that was silent for
 * longest is probed, so that a peer at rest sends one probe a turn, whatever the size of the swarm. When it does
 * not answer in time, three others are asked to try; when they hear nothing either it is a suspect, which all
 * hear, until it is heard of or its time is over. Of two members one probes: the other hears it by that.
 *
 * Nobody's word keeps a member alive or kills it. A helper has to bring an answer that the member signed for
 * this very probe; and a suspicion of somebody else makes us probe, or knock where we don't (swarm's `rumours.ts`),
 * or the member sign a newer record.
 *
 * A peer that stood still itself (starved, stopped, suspended) sees everybody else silent. So our own
 * pauses are measured, the silence during them is forgiven, and nobody is accused shortly after one.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';
import { type Log, type Loops, RecentMap } from '@shoal/chassis';
import type { PeerId } from '@shoal/protocol';
import { DEATH_SLACK_MS } from '@shoal/swarm';
import type { Suspicion } from '../network/messages.ts';
import { isAuthentic, read } from '../network/signed.ts';
import type { Wire } from '../network/wire.ts';
import { FULL_MESH_MAX, type Membership } from './membership.ts';
import { shuffle } from './shuffle.ts';

/** A turn that comes this late means that we stood still. */
const PAUSE_MIN_MS = 250;
/** Nobody is accused this long after a pause. */
const CALM_AFTER_PAUSE_MS = 3000;
/** Of the time between two probes: silence for which a member is probed. Less than all of it, or answer and turn would race. */
const SILENT_SHARE = 0.9;
/** The same for a member that is not connected, which helpers have to ask: by then we had time to connect. */
const UNLINKED_SILENT_SHARE = 5;
/** Of the time between two probes: how long a member has to answer, at least, before the next turn asks others to try. */
const ANSWER_SHARE = 0.5;
/** The same until it counts as silent. */
const SILENCE_SHARE = 1.5;
/** In a large swarm, one of this many turns is that of the member that was silent for longest: each has its turn. */
const TURNS_IN_ORDER = 4;
/** Members that are asked to try. */
const HELPERS = 3;
/**
 * Members that are probed at once because somebody else suspects them.
 * Past it: the suspicion is passed over; their turn comes.
 */
const CHECKS_MAX = 8;
/**
 * Members that are pinged at once for others.
 * Past it: the one that asks hears that there was no answer.
 */
const HELPS_MAX = 32;
/** A member's door is knocked at once in this time, however many say that it does not answer. */
const KNOCK_EVERY_MS = 5000;
/** Members whose doors were knocked at, or that were called back. Past it: the first of them may be again. */
const KNOCKED_MAX = 1024;
/** Wait before calling back, plus up to twice this at random: a restart may be under way. */
const CALL_BACK_DELAY_MS = 50;
const CALL_BACK_TIMEOUT_MS = 2000;
/**
 * Connections of one member that may end within that time and be followed by a call back. It signs the addresses that are
 * called, and may come and go to have others call there.
 * Past it: it is probed in its turn.
 */
const CALL_BACKS_MAX = 4;
const CALL_BACKS_WITHIN_MS = 10_000;
const KNOCK_TIMEOUT_MS = 1000;

export interface FailureDeps {
  readonly self: PeerId;
  /** Whether we keep out of the network: then we hear from one member who lives. */
  readonly isAside: () => boolean;
  readonly membership: Membership;
  readonly wire: Wire;
  /** Hears what a member's answer said of its losses, and when it was asked. */
  readonly onLosses?: (peerId: PeerId, losses: number | undefined, askedAtMs: number) => void;
  /** Time between two probes. */
  readonly pingMs: number;
  readonly loops: Loops;
  readonly log: Log;
}

export function startFailureDetector(deps: FailureDeps): Disposable {
  const detector = new FailureDetector(deps);
  const { loops, pingMs } = deps;
  const stack = new DisposableStack();
  stack.defer(() => detector.stop());
  stack.use(
    loops.start({
      name: 'failure-detector',
      everyMs: () => pingMs,
      run: () => detector.turn(),
    }),
  );
  return stack;
}

export class FailureDetector {
  readonly #deps: FailureDeps;
  readonly #stop = new AbortController();
  readonly #probing = new Set<PeerId>();
  /** When a member was last heard, or probed: the table's date counts what others proved, too. */
  readonly #dealtAtMs = new Map<PeerId, number>();
  /**
   * Probes that go on at a turn when they have no answer by then. Timers of their own would each wake a peer at rest once
   * more, although almost all are answered at once.
   */
  readonly #waiting = new Set<{ readonly fromMs: number; readonly goOn: () => void }>();
  readonly #calledBack: RecentMap<PeerId, { count: number }>;
  readonly #meeting = new Set<PeerId>();
  readonly #knocked: RecentMap<PeerId, true>;
  #helping = 0;
  #turns = 0;
  #lastTurnMs: number | undefined;
  #pausedAtMs = -Infinity;

  constructor(deps: FailureDeps) {
    const { membership, wire, log } = deps;
    this.#deps = deps;
    const clock = () => membership.clock();
    this.#knocked = new RecentMap({ max: KNOCKED_MAX, ttlMs: KNOCK_EVERY_MS, clock });
    this.#calledBack = new RecentMap({ max: KNOCKED_MAX, ttlMs: CALL_BACKS_WITHIN_MS, clock });
    wire.handle('probe', (_, { peerId, nonce }) => this.#help(peerId, nonce));
    wire.on('heard', (peerId) => this.#hear(peerId));
    wire.on('disconnected', (peerId) => {
      this.#dealtAtMs.delete(peerId);
      const calls = this.#calledBack.peek(peerId) ?? { count: 0 };
      if (calls.count >= CALL_BACKS_MAX) return;
      if (calls.count === 0) this.#calledBack.set(peerId, calls);
      calls.count += 1;
      const delayMs = CALL_BACK_DELAY_MS * (1 + 2 * Math.random());
      setTimeout(() => {
        this.#callBack(peerId).catch((err: unknown) => log.warn({ err }, 'call back broke'));
      }, delayMs).unref();
    });
    membership.onSuspicion((suspicion) => {
      const { peerId } = suspicion;
      if (!membership.isWatched(peerId)) return void this.#knockAt(peerId);
      const isUp = membership.table.get(peerId)?.state === 'alive';
      if (!isUp || this.#probing.has(peerId) || this.#probing.size >= CHECKS_MAX) return;
      void this.#probe(peerId, suspicion);
    });
  }

  stop(): void {
    this.#stop.abort(new Error('stopping'));
    for (const { goOn } of this.#waiting) goOn();
  }

  /** Lets time pass in the table, and probes one member. */
  turn(): void {
    const { membership, isAside, wire, pingMs } = this.#deps;
    const { table, clock } = membership;
    const nowMs = clock();
    const pausedMs = nowMs - (this.#lastTurnMs ?? nowMs) - pingMs;
    this.#lastTurnMs = nowMs;
    if (pausedMs > PAUSE_MIN_MS) {
      table.forgive(pausedMs);
      this.#pausedAtMs = nowMs;
    }
    for (const { fromMs, goOn } of this.#waiting) if (nowMs >= fromMs) goOn();
    const changed = table.tick(nowMs);
    for (const peerId of changed)
      if (table.get(peerId)?.state === 'down') void wire.engine().hangUp(peerId);
    if (changed.length > 0) membership.noteChanges(changed);
    if (isAside()) return;
    const next = this.#next(nowMs);
    if (next !== undefined) void this.#probe(next);
  }

  /**
   * The member that was silent for longest, if that is long enough. In a large swarm, where some members have far more
   * connections than others and so take far longer for a round, most turns choose one at random: else those that
   * one with few connections had dealt with lately would all come to it late.
   */
  #next(nowMs: number): PeerId | undefined {
    const { membership, wire, pingMs } = this.#deps;
    const connected = new Set(wire.engine().connected());
    const due: PeerId[] = [];
    let longest: PeerId | undefined;
    let sinceMs = Infinity;
    for (const { record, heardAtMs, downAtMs } of membership.table.all()) {
      const { peerId } = record;
      const isLinked = connected.has(peerId);
      // One that is down and connected all the same was given up a moment before it came back.
      const isUp = downAtMs === undefined || (isLinked && nowMs - downAtMs > DEATH_SLACK_MS);
      if (!isUp || this.#probing.has(peerId)) continue;
      if (!isLinked && !membership.isWatched(peerId)) continue;
      const dealtAtMs = this.#dealtAtMs.get(peerId) ?? (isLinked ? -Infinity : heardAtMs);
      const silentMs = pingMs * (isLinked ? SILENT_SHARE : UNLINKED_SILENT_SHARE);
      if (nowMs - dealtAtMs < silentMs) continue;
      due.push(peerId);
      if (dealtAtMs < sinceMs) [longest, sinceMs] = [peerId, dealtAtMs];
    }
    this.#turns += 1;
    const isInOrder =
      membership.table.size() <= FULL_MESH_MAX || this.#turns % TURNS_IN_ORDER === 0;
    return isInOrder ? longest : due[Math.floor(Math.random() * due.length)];
  }

  /** @param suspicion What somebody else says of it: it should hear that, and sign a newer record. */
  async #probe(peerId: PeerId, suspicion?: Suspicion): Promise<void> {
    const { membership, wire } = this.#deps;
    const wasConnected = wire.isConnected(peerId);
    this.#probing.add(peerId);
    this.#dealtAtMs.set(peerId, membership.clock());
    try {
      if ((await this.#isThere(peerId, suspicion)) || this.#stop.signal.aborted) return;
      // A connection that has gone is the business of the call back.
      if (wasConnected && !wire.isConnected(peerId)) return;
      if (membership.clock() - this.#pausedAtMs > CALM_AFTER_PAUSE_MS) membership.suspect(peerId);
    } finally {
      this.#probing.delete(peerId);
    }
  }

  /** Whether it answers us, or proves itself to a helper. */
  async #isThere(peerId: PeerId, suspicion?: Suspicion): Promise<boolean> {
    const { pingMs, log } = this.#deps;
    const over = new AbortController();
    const signal = AbortSignal.any([this.#stop.signal, over.signal]);
    const direct = this.#ping(peerId, suspicion, { timeoutMs: Infinity, signal }).catch(
      (err: unknown) => {
        log.debug({ err, member: peerId }, 'probe failed');
        return false;
      },
    );
    const startMs = this.#deps.membership.clock();
    try {
      const turn = this.#turnFrom(startMs + ANSWER_SHARE * pingMs, signal);
      if ((await Promise.race([direct, turn])) === true) return true;
      const nonce = randomBytes(24).toString('base64url');
      const helped = this.#helpersFor(peerId).map(async (helper) =>
        this.#askHelper(helper, { peerId, nonce, signal }).catch(() => false),
      );
      const known = anyTrue([direct, ...helped]);
      const leftMs = startMs + SILENCE_SHARE * pingMs - this.#deps.membership.clock();
      const late = wait(Math.max(0, leftMs), false, { signal, ref: false });
      return await Promise.race([known, late.catch(() => false)]);
    } finally {
      over.abort(new Error('it is known'));
    }
  }

  /** Resolves with the first turn from then on, or when it is of no use any more. */
  #turnFrom(fromMs: number, signal: AbortSignal): Promise<undefined> {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    if (signal.aborted) resolve(undefined);
    const waiting = { fromMs, goOn: () => resolve(undefined) };
    this.#waiting.add(waiting);
    signal.addEventListener('abort', waiting.goOn, { once: true });
    return promise.finally(() => {
      this.#waiting.delete(waiting);
      signal.removeEventListener('abort', waiting.goOn);
    });
  }

  async #ping(
    peerId: PeerId,
    suspicion: Suspicion | undefined,
    options: { readonly timeoutMs: number; readonly signal: AbortSignal },
  ): Promise<true> {
    const { membership, wire } = this.#deps;
    if (!wire.isConnected(peerId)) throw new Error('not connected');
    const news =
      suspicion === undefined ? membership.takeNews() : { records: [], suspicions: [suspicion] };
    const question = { kind: 'ping', ...(news === undefined ? {} : { news }) } as const;
    const askedAtMs = membership.clock();
    const answer = await wire.request(peerId, question, options);
    this.#hear(peerId);
    this.#deps.onLosses?.(peerId, answer.losses, askedAtMs);
    if (answer.news !== undefined) membership.hearNews(answer.news, peerId);
    return true;
  }

  #helpersFor(peerId: PeerId): PeerId[] {
    const { membership, wire } = this.#deps;
    const isAble = (each: PeerId) =>
      each !== peerId && membership.table.get(each)?.state === 'alive';
    return shuffle(wire.engine().connected().filter(isAble)).slice(0, HELPERS);
  }

  async #askHelper(
    helper: PeerId,
    {
      peerId,
      nonce,
      signal,
    }: { readonly peerId: PeerId; readonly nonce: string; readonly signal: AbortSignal },
  ): Promise<boolean> {
    const { membership, wire, pingMs } = this.#deps;
    const question = { kind: 'probe', peerId, nonce } as const;
    const { signed } = await wire.request(helper, question, { timeoutMs: pingMs, signal });
    if (signed === undefined) return false;
    const record = read('member', signed).content;
    const isProof = record?.peerId === peerId && record.run?.nonce === nonce;
    if (!isProof || !isAuthentic('member', record, signed)) return false;
    if (membership.table.hear(peerId, membership.clock())) membership.noteChanges([peerId]);
    return true;
  }

  /** Pings a member for another one. */
  async #help(peerId: PeerId, nonce: string) {
    const { self, wire, pingMs } = this.#deps;
    if (this.#helping >= HELPS_MAX || peerId === self || !wire.isConnected(peerId)) return {};
    this.#helping += 1;
    try {
      const options = { timeoutMs: pingMs * ANSWER_SHARE, signal: this.#stop.signal };
      const { signed, news } = await wire.request(peerId, { kind: 'ping', nonce }, options);
      if (news !== undefined) this.#deps.membership.hearNews(news, peerId);
      return signed === undefined ? {} : { signed };
    } catch {
      return {}; // it does not answer us either
    } finally {
      this.#helping -= 1;
    }
  }

  /** Others say that a member that we don't probe does not answer: whether somebody listens at its address. */
  async #knockAt(peerId: PeerId): Promise<void> {
    const { membership, wire } = this.#deps;
    const member = membership.table.get(peerId);
    if (member === undefined || member.downAtMs !== undefined || this.#probing.has(peerId)) return;
    if (this.#probing.size >= CHECKS_MAX || this.#knocked.has(peerId)) return;
    this.#knocked.set(peerId, true);
    const { libp2p: addresses, incarnation } = member.record;
    this.#probing.add(peerId);
    try {
      const knock = await wire.engine().knock(addresses, { timeoutMs: KNOCK_TIMEOUT_MS });
      if (knock === 'refused') membership.noteRefusal(peerId, incarnation);
    } finally {
      this.#probing.delete(peerId);
    }
  }

  #hear(peerId: PeerId): void {
    const { membership, wire } = this.#deps;
    if (!wire.isConnected(peerId)) return;
    const nowMs = membership.clock();
    this.#dealtAtMs.set(peerId, nowMs);
    if (membership.table.hear(peerId, nowMs)) membership.noteChanges([peerId]);
    const { downAtMs = Infinity } = membership.table.get(peerId) ?? {};
    if (nowMs - downAtMs > DEATH_SLACK_MS) void this.#meetAgain(peerId);
  }

  /** A member that is down speaks to us: its own record says what it is. */
  async #meetAgain(peerId: PeerId): Promise<void> {
    if (this.#meeting.has(peerId)) return;
    this.#meeting.add(peerId);
    try {
      await this.#deps.membership.exchange(peerId);
    } catch (err) {
      this.#deps.log.debug({ err, member: peerId }, 'no exchange');
    } finally {
      this.#meeting.delete(peerId);
    }
  }

  async #callBack(peerId: PeerId): Promise<void> {
    const { membership, wire, log } = this.#deps;
    const { table, clock } = membership;
    const member = table.get(peerId);
    const { signal: stop } = this.#stop;
    if (stop.aborted || member === undefined || member.downAtMs !== undefined) return;
    if (wire.isConnected(peerId)) return;
    const { libp2p: addresses, incarnation } = member.record;
    try {
      const signal = AbortSignal.any([stop, AbortSignal.timeout(CALL_BACK_TIMEOUT_MS)]);
      await wire.engine().dial(addresses, { peerId, signal });
      return;
    } catch (err) {
      if (stop.aborted || wire.isConnected(peerId)) return;
      log.debug({ err, member: peerId }, 'call back failed');
    }
    const knock = await wire.engine().knock(addresses, { timeoutMs: KNOCK_TIMEOUT_MS });
    if (stop.aborted || wire.isConnected(peerId)) return;
    if (knock === 'refused') membership.declareDown(peerId, incarnation);
    else if (clock() - this.#pausedAtMs > CALM_AFTER_PAUSE_MS) membership.suspect(peerId);
  }
}

/** Whether one of them comes out true; known as soon as one does. */
async function anyTrue(all: readonly Promise<boolean>[]): Promise<boolean> {
  const found = Promise.withResolvers<true>();
  for (const each of all)
    void each.then((isTrue) => {
      if (isTrue) found.resolve(true);
    });
  return await Promise.race([found.promise, Promise.all(all).then((list) => list.includes(true))]);
}
