/**
 * Presence: every peer signs a record of itself and broadcasts it; two peers that meet tell each other
 * all records that they know (push-pull). Records are relayed verbatim with their age, so nobody can
 * speak for another or make a record look younger. Who has died is `failure.ts`, whom to call `join.ts`.
 */
import type { Log, Loops } from '@shoal/chassis';
import {
  DATE_MAX_MS,
  type Member,
  type MemberRecord,
  type MemberState,
  type PeerId,
  type PeerRun,
  ServiceUnavailable,
} from '@shoal/protocol';
import { createMemberTable, type Learnt, type MemberTable, toMember } from '@shoal/swarm';
import { type AgedRecord } from '../network/messages.ts';
import { countMembers, type Metrics } from '../metrics.ts';
import type { Refusals } from '../network/refusals.ts';
import { isAuthentic, read, Signed, type Signer } from '../network/signed.ts';
import type { SavedMember } from './saved-member.ts';
import type { Wire } from '../network/wire.ts';

/** Presence messages that one peer takes in a second, whatever the size: 1.8 ms of CPU each. */
const PRESENCE_PER_SECOND = 20;
/** A member that misses this many heartbeats, and some milliseconds, is down. */
const HEARTBEATS_MISSED_MAX = 3;
const TTL_SLACK_MS = 500;
/** Push-pull while young, then rarely: by then broadcasts have told everything. */
const EXCHANGE_YOUNG_MS = 5000;
const EXCHANGE_MS = 30_000;
const YOUNG_MS = 60_000;
/** Longest wait for the others to take our good-bye. */
const LEAVE_TIMEOUT_MS = 500;
/** Callers that wait for a change at once; a few services wait, one call each. */
const WAITERS_MAX = 256;

/** What a peer says of itself, apart from what this module adds. */
export type OwnFacts = Omit<
  MemberRecord,
  'v' | 'peerId' | 'incarnation' | 'seq' | 'atMs' | 'leaving' | 'run'
>;

export interface Membership {
  readonly table: MemberTable<Signed>;
  /** Monotonic clock that the table's times are on. */
  readonly clock: () => number;
  heartbeatMs(): number;
  /** All members with ourselves first. */
  list(): Member[];
  version(): number;
  /**
   * Waits until the version differs from `after`, at most `waitMs`.
   * @throws ServiceUnavailable when this service is stopping
   */
  changed(after: number, waitMs: number, signal: AbortSignal): Promise<void>;
  /** Tells about changes that somebody else made in the table. */
  noteChanges(peerIds: readonly PeerId[]): void;
  onChange(listener: (peerId: PeerId, state: MemberState) => void): void;
  /** Push-pull with one peer. */
  exchange(peerId: PeerId): Promise<void>;
  /** What we think of a member changed: those who wait for changes should know. */
  noteOpinion(): void;
  /** Takes in records that somebody told in another way than over the engine. */
  learn(records: readonly AgedRecord[], from: PeerId): void;
  /** Our own record, as it was last signed. */
  own(): { readonly record: MemberRecord; readonly signed: Signed };
  /** Our own record with a nonce in it, and those of all others. */
  introduce(nonce: string): { own: Signed; others: AgedRecord[] };
  /** Goes on under a higher incarnation. */
  reincarnate(incarnation: number): void;
  /** Our facts changed in a way that others should know now. */
  announceSelf(): void;
  /** Takes in records from an earlier run: known, but not believed to be up. */
  restore(saved: readonly SavedMember[]): void;
  saved(): Map<PeerId, SavedMember>;
  start(loops: Loops): Disposable;
  /** Says good-bye, so that nobody has to find out. */
  leave(): Promise<void>;
}

export function createMembership(deps: {
  readonly self: PeerId;
  readonly incarnation: number;
  /** Which run of this peer this is. */
  readonly run: () => PeerRun;
  /** A record under our own name, of another run. */
  readonly onOwnName: (record: MemberRecord) => void;
  readonly signer: Signer;
  readonly wire: Wire;
  readonly facts: () => OwnFacts;
  readonly heartbeatMs: number;
  readonly outAfterMs: number;
  /** What this peer thinks of a member, beside what that says of itself. */
  readonly opinionOf: (peerId: PeerId) => Pick<Member, 'proofs' | 'isDistrusted'>;
  readonly refusals: Refusals;
  readonly metrics: Metrics;
  readonly log: Log;
}): Membership {
  const { self, signer, wire, refusals, metrics, log } = deps;
  let { incarnation } = deps;
  const clock = () => performance.now();
  const startedAtMs = clock();
  const heartbeatMs = (): number =>
    Math.max(deps.heartbeatMs, ((table.all().length + 1) / PRESENCE_PER_SECOND) * 1000);
  const table: MemberTable<Signed> = createMemberTable<Signed>({
    self,
    ttlMs: () => heartbeatMs() * HEARTBEATS_MISSED_MAX + TTL_SLACK_MS,
    outAfterMs: deps.outAfterMs,
    version: incarnation,
  });
  const waiters = new Set<() => void>();
  const listeners = new Set<(peerId: PeerId, state: MemberState) => void>();
  let seq = 0;
  let knownVersion = table.version();
  let ownChanges = 0;
  let own = { record: ownRecord(false), signed: signer.sign('member', ownRecord(false)) };
  let isLeaving = false;

  function ownRecord(leaving: boolean): MemberRecord {
    const atMs = Math.min(Math.max(0, Date.now()), DATE_MAX_MS);
    const run = deps.run();
    return { v: 1, peerId: self, incarnation, seq, atMs, leaving, run, ...deps.facts() };
  }
  const renew = (leaving = false): void => {
    seq += 1;
    const record = ownRecord(leaving);
    own = { record, signed: signer.sign('member', record) };
  };
  const version = () => table.version() + ownChanges;
  const wake = (): void => {
    if (version() === knownVersion) return;
    knownVersion = version();
    const states = table.all().map(({ state }) => state);
    countMembers(metrics, ['alive', ...states]);
    for (const waiter of waiters) waiter();
  };
  const tell = (peerId: PeerId): void => {
    const state = table.get(peerId)?.state;
    if (state === undefined) return;
    metrics.transitions.inc({ state });
    log.info({ member: peerId, state }, 'member changed');
    for (const listener of listeners) listener(peerId, state);
  };

  const learn = (signed: Signed, ageMs: number, from: PeerId): void => {
    const said = read('member', signed);
    if (said.content === undefined) {
      metrics.messages.inc({ kind: 'record', outcome: 'malformed' });
      refusals.note({ what: 'member', from, name: said.name, reason: said.reason });
      return;
    }
    const record = said.content;
    if (record.peerId === self) {
      const isOwn = record.run?.id === deps.run().id;
      if (!isOwn && isAuthentic('member', record, signed)) deps.onOwnName(record);
      return;
    }
    const nowMs = clock();
    // What a peer says of itself over its own connection is as young as can be.
    const seenAtMs = nowMs - (record.peerId === from ? 0 : ageMs);
    if (!table.isNews({ record, seenAtMs })) return;
    if (!isAuthentic('member', record, signed)) {
      metrics.messages.inc({ kind: 'record', outcome: 'refused' });
      const reason = 'signature: is not that of the peer';
      refusals.note({ what: 'member', from, name: record.peerId, reason });
      return;
    }
    const before = table.get(record.peerId)?.state;
    const learnt: Learnt = table.learn({ record, signed, seenAtMs }, nowMs);
    if (learnt !== 'stale' && table.get(record.peerId)?.state !== before) tell(record.peerId);
    wake();
  };
  const everything = (): AgedRecord[] => {
    const nowMs = clock();
    const others = table
      .all()
      .map(({ signed, seenAtMs }) => ({ signed, ageMs: Math.max(0, nowMs - seenAtMs) }));
    return [{ signed: own.signed, ageMs: 0 }, ...others];
  };
  const announceSelf = (): void => {
    if (isLeaving) return;
    renew();
    wire.broadcast('members', own.signed);
  };
  const exchange = async (peerId: PeerId): Promise<void> => {
    const { records } = await wire.request(peerId, { kind: 'exchange', records: everything() });
    for (const { signed, ageMs } of records) learn(signed, ageMs, peerId);
  };

  wire.listen('members', Signed, (from, signed) => learn(signed, 0, from));
  wire.handle('exchange', (from, { records }) => {
    for (const { signed, ageMs } of records) learn(signed, ageMs, from);
    return { records: everything() };
  });
  wire.handle('ping', () => ({}));

  return {
    table,
    clock,
    heartbeatMs,
    version,
    exchange,
    list() {
      const nowMs = clock();
      const me: Member = { ...ownRecord(false), state: 'alive', isSelf: true, seenMsAgo: 0 };
      return [
        me,
        ...table.all().map((member) => ({
          ...toMember(member, nowMs, table.outInMs(member.record.peerId, nowMs)),
          ...deps.opinionOf(member.record.peerId),
        })),
      ];
    },
    async changed(after, waitMs, signal) {
      const refuse = () => {
        if (isLeaving) throw new ServiceUnavailable({ service: 'discovery' });
      };
      refuse();
      if (version() !== after || waitMs === 0 || waiters.size >= WAITERS_MAX) return;
      const { promise, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(resolve, waitMs);
      waiters.add(resolve);
      signal.addEventListener('abort', () => resolve(), { once: true });
      await promise;
      waiters.delete(resolve);
      clearTimeout(timer);
      refuse();
    },
    noteChanges(peerIds) {
      for (const peerId of peerIds) tell(peerId);
      wake();
    },
    onChange: (listener) => void listeners.add(listener),
    noteOpinion() {
      ownChanges += 1;
      wake();
    },
    learn(records, from) {
      for (const { signed, ageMs } of records) learn(signed, ageMs, from);
    },
    own: () => own,
    introduce(nonce) {
      const record = { ...own.record, run: { ...deps.run(), nonce } };
      return { own: signer.sign('member', record), others: everything().slice(1) };
    },
    reincarnate(next) {
      incarnation = Math.max(incarnation, next);
      this.announceSelf();
    },
    announceSelf() {
      ownChanges += 1;
      wake();
      announceSelf();
    },
    restore(saved) {
      const wallMs = Date.now();
      for (const { signed, seenAtMs } of saved) {
        const said = read('member', signed);
        if (said.content === undefined) {
          const { name, reason } = said;
          refusals.note({ what: 'member', from: undefined, name, reason });
          continue;
        }
        const record = said.content;
        if (!isAuthentic('member', record, signed)) continue;
        const ageMs = Math.max(0, wallMs - seenAtMs);
        // Marked down at once by an age beyond any time to live: only a sign of life counts.
        table.learn({ record, signed, seenAtMs: clock() - ageMs }, clock());
        table.declareDown(record.peerId, record.incarnation, clock() - ageMs);
      }
      wake();
    },
    saved() {
      const offsetMs = Date.now() - clock();
      const entries = table
        .all()
        .map(({ record, signed, seenAtMs }): [PeerId, SavedMember] => [
          record.peerId,
          { signed, seenAtMs: Math.max(0, seenAtMs + offsetMs) },
        ]);
      return new Map(entries);
    },
    start(loops) {
      countMembers(metrics, ['alive', ...table.all().map(({ state }) => state)]);
      const onFailure = (err: unknown) => log.debug({ err }, 'presence failed');
      renew();
      wire.broadcast('members', own.signed);
      // One side is enough: the other's answer comes with it.
      wire.on('connected', (peerId) => {
        if (self < peerId) exchange(peerId).catch(onFailure);
      });
      const stack = new DisposableStack();
      // A tenth of jitter keeps peers that started together from speaking together.
      stack.use(
        loops.start({
          name: 'presence',
          everyMs: () => heartbeatMs() * (0.9 + Math.random() / 10),
          run: announceSelf,
          onFailure,
        }),
      );
      stack.use(
        loops.start({
          name: 'exchange',
          everyMs: () => (clock() - startedAtMs < YOUNG_MS ? EXCHANGE_YOUNG_MS : EXCHANGE_MS),
          run: async () => {
            const connected = wire.engine().connected();
            const peerId = connected[Math.floor(Math.random() * connected.length)];
            if (peerId !== undefined) await exchange(peerId);
          },
          onFailure,
        }),
      );
      return stack;
    },
    async leave() {
      isLeaving = true;
      for (const waiter of waiters) waiter();
      // The name is another process's: its members must not take it for gone.
      if (deps.run().isAside) return;
      renew(true);
      wire.broadcast('members', own.signed);
      const records = [{ signed: own.signed, ageMs: 0 }];
      await Promise.allSettled(
        wire
          .engine()
          .connected()
          .map((peerId) =>
            wire.request(peerId, { kind: 'exchange', records }, { timeoutMs: LEAVE_TIMEOUT_MS }),
          ),
      );
    },
  };
}
