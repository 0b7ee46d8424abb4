/**
 * Presence: every peer signs a record of itself and broadcasts it; two peers that meet tell each other
 * all records that they know (push-pull). Records are relayed verbatim with their age, so nobody can
 * speak for another or make a record look younger. Deaths are found by `failure.ts`, members to call by `join.ts`.
 */
import assert from 'node:assert';
import type { Log, Loops } from '@shoal/chassis';
import type { Member, MemberRecord, PeerId, PeerRun } from '@shoal/protocol';
import { createMemberTable, type MemberTable, toMember } from '@shoal/swarm';
import type { AgedRecord } from '../network/messages.ts';
import type { Metrics } from '../metrics.ts';
import type { Refusals } from '../network/refusals.ts';
import { isAuthentic, read, Signed, type Signer } from '../network/signed.ts';
import type { Wire } from '../network/wire.ts';
import { Changes, type OnChange } from './changes.ts';
import { type OwnFacts, OwnRecord, type SignedRecord } from './own-record.ts';
import { restoreMembers, type SavedMember, savedMembers } from './saved-member.ts';

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

export interface MembershipDeps {
  readonly self: PeerId;
  readonly incarnation: number;
  /** Which run of this peer this is. */
  readonly run: () => PeerRun;
  readonly signer: Signer;
  readonly wire: Wire;
  readonly facts: () => OwnFacts;
  readonly heartbeatMs: number;
  readonly outAfterMs: number;
  /** Monotonic clock that the table's times are on. */
  readonly clock: () => number;
  /** This peer's view of a member, beside the member's own record. */
  readonly opinionOf: (peerId: PeerId) => Pick<Member, 'proofs' | 'isDistrusted'>;
  readonly refusals: Refusals;
  readonly metrics: Metrics;
  readonly log: Log;
}

export class Membership {
  readonly table: MemberTable<Signed>;
  readonly clock: () => number;
  readonly #deps: MembershipDeps;
  readonly #startedAtMs: number;
  readonly #record: OwnRecord;
  readonly #changes: Changes;
  readonly #namesakes = new Set<(record: MemberRecord) => void>();
  #hasMet = false;
  /** Nothing is said any more after the good-bye. */
  #phase: 'new' | 'started' | 'leaving' = 'new';

  constructor(deps: MembershipDeps) {
    const { self, incarnation, outAfterMs, clock, wire } = deps;
    this.#deps = deps;
    this.clock = clock;
    this.#startedAtMs = clock();
    this.table = createMemberTable<Signed>({
      self,
      ttlMs: () => this.heartbeatMs() * HEARTBEATS_MISSED_MAX + TTL_SLACK_MS,
      outAfterMs,
      version: incarnation,
    });
    this.#record = new OwnRecord(deps);
    this.#changes = new Changes({ ...deps, table: this.table });
    wire.listen('members', Signed, (from, signed) => this.#learn({ signed, ageMs: 0 }, from));
    wire.handle('exchange', (from, { records }) => {
      this.learn(records, from);
      this.#hasMet = true;
      return { records: this.#everything() };
    });
    wire.handle('ping', () => ({}));
  }

  /** Longer in a large swarm, so that presence costs each peer the same. */
  heartbeatMs(): number {
    const members = this.table.all().length + 1;
    return Math.max(this.#deps.heartbeatMs, (members / PRESENCE_PER_SECOND) * 1000);
  }

  /** All members with ourselves first. */
  list(): Member[] {
    const nowMs = this.clock();
    const me: Member = { ...this.#record.draft(), state: 'alive', isSelf: true, seenMsAgo: 0 };
    const others = this.table.all().map((member) => ({
      ...toMember(member, nowMs, this.table.outInMs(member.record.peerId, nowMs)),
      ...this.#deps.opinionOf(member.record.peerId),
    }));
    return [me, ...others];
  }

  /** All members but ourselves. */
  others(): Member[] {
    return this.list().filter(({ isSelf }) => !isSelf);
  }

  /** Whether some member told in this run whom it knows. */
  hasMet(): boolean {
    return this.#hasMet;
  }

  version(): number {
    return this.#changes.version();
  }

  /**
   * Waits until the version differs from `after`, at most `waitMs`.
   * @throws ServiceUnavailable when this service is stopping
   */
  changed(after: number, waitMs: number, signal: AbortSignal): Promise<void> {
    return this.#changes.wait(after, waitMs, signal);
  }

  /** Tells about changes that somebody else made in the table. */
  noteChanges(peerIds: readonly PeerId[]): void {
    for (const peerId of peerIds) this.#changes.tell(peerId);
    this.#changes.wake();
  }

  onChange(listener: OnChange): void {
    this.#changes.onChange(listener);
  }

  /** Calls back with records under our own name that are of another run. */
  onOwnName(listener: (record: MemberRecord) => void): void {
    this.#namesakes.add(listener);
  }

  /** Our view of a member changed: wakes those that wait for changes. */
  noteOpinion(): void {
    this.#changes.noteOwn();
  }

  /** Takes in records that somebody told. */
  learn(records: readonly AgedRecord[], from: PeerId): void {
    for (const record of records) this.#learn(record, from);
  }

  /** Push-pull with one peer. */
  async exchange(peerId: PeerId): Promise<void> {
    const question = { kind: 'exchange', records: this.#everything() } as const;
    const { records } = await this.#deps.wire.request(peerId, question);
    this.learn(records, peerId);
    this.#hasMet = true;
  }

  /** Our own record, as it was last signed. */
  own(): SignedRecord {
    return this.#record.current();
  }

  /** Our own record with a nonce in it, and those of all others. */
  introduce(nonce: string): { own: Signed; others: AgedRecord[] } {
    return { own: this.#record.introduce(nonce), others: this.#othersAged() };
  }

  /** Goes on under a higher incarnation. */
  reincarnate(incarnation: number): void {
    this.#record.raise(incarnation);
    this.announceSelf();
  }

  /** Our facts changed in a way that others should know now. */
  announceSelf(): void {
    this.#changes.noteOwn();
    this.#broadcastSelf();
  }

  /** Takes in records from an earlier run: known, but not believed to be up. */
  restore(saved: readonly SavedMember[]): void {
    const { table, clock } = this;
    restoreMembers(saved, { table, clock, refusals: this.#deps.refusals });
    this.#changes.wake();
  }

  saved(): Map<PeerId, SavedMember> {
    return savedMembers(this.table, this.clock);
  }

  /** Says that this peer is here, and goes on saying so until disposed. */
  start(loops: Loops): Disposable {
    const { self, wire, log } = this.#deps;
    assert(this.#phase === 'new', 'presence starts once');
    this.#phase = 'started';
    this.#changes.count();
    const onFailure = (err: unknown) => log.debug({ err }, 'presence failed');
    wire.broadcast('members', this.#record.renew());
    // One side is enough: the other's answer comes with it.
    wire.on('connected', (peerId) => {
      if (self < peerId) this.exchange(peerId).catch(onFailure);
    });
    const stack = new DisposableStack();
    stack.use(
      loops.start({
        name: 'presence',
        // A tenth of jitter keeps peers that started together from speaking together.
        everyMs: () => this.heartbeatMs() * (0.9 + Math.random() / 10),
        run: () => this.#broadcastSelf(),
        onFailure,
      }),
    );
    const isYoung = () => this.clock() - this.#startedAtMs < YOUNG_MS;
    stack.use(
      loops.start({
        name: 'exchange',
        everyMs: () => (isYoung() ? EXCHANGE_YOUNG_MS : EXCHANGE_MS),
        run: async () => {
          const connected = wire.engine().connected();
          const peerId = connected[Math.floor(Math.random() * connected.length)];
          if (peerId !== undefined) await this.exchange(peerId);
        },
        onFailure,
      }),
    );
    return stack;
  }

  /** Says good-bye, so that nobody has to find out. */
  async leave(): Promise<void> {
    const { wire, run } = this.#deps;
    this.#phase = 'leaving';
    this.#changes.close();
    // The name is another process's: its members must not take it for gone.
    if (run().isAside) return;
    const signed = this.#record.renew({ isLeaving: true });
    wire.broadcast('members', signed);
    const records: AgedRecord[] = [{ signed, ageMs: 0 }];
    const tell = (peerId: PeerId) =>
      wire.request(peerId, { kind: 'exchange', records }, { timeoutMs: LEAVE_TIMEOUT_MS });
    await Promise.allSettled(wire.engine().connected().map(tell));
  }

  #broadcastSelf(): void {
    if (this.#phase === 'leaving') return;
    this.#deps.wire.broadcast('members', this.#record.renew());
  }

  #learn({ signed, ageMs }: AgedRecord, from: PeerId): void {
    const { self, run, refusals, metrics } = this.#deps;
    const said = read('member', signed);
    if (said.content === undefined) {
      metrics.messages.inc({ kind: 'record', outcome: 'malformed' });
      refusals.note({ what: 'member', from, name: said.name, reason: said.reason });
      return;
    }
    const record = said.content;
    if (record.peerId === self) {
      const isOwn = record.run?.id === run().id;
      if (isOwn || !isAuthentic('member', record, signed)) return;
      for (const listener of this.#namesakes) listener(record);
      return;
    }
    const nowMs = this.clock();
    // A peer's own record over its own connection is as young as can be.
    const seenAtMs = nowMs - (record.peerId === from ? 0 : ageMs);
    if (!this.table.isNews({ record, seenAtMs })) return;
    if (!isAuthentic('member', record, signed)) {
      metrics.messages.inc({ kind: 'record', outcome: 'refused' });
      const reason = 'signature: is not that of the peer';
      refusals.note({ what: 'member', from, name: record.peerId, reason });
      return;
    }
    const before = this.table.get(record.peerId)?.state;
    const learnt = this.table.learn({ record, signed, seenAtMs }, nowMs);
    if (learnt !== 'stale' && this.table.get(record.peerId)?.state !== before)
      this.#changes.tell(record.peerId);
    this.#changes.wake();
  }

  #everything(): AgedRecord[] {
    return [{ signed: this.own().signed, ageMs: 0 }, ...this.#othersAged()];
  }

  #othersAged(): AgedRecord[] {
    const nowMs = this.clock();
    return this.table
      .all()
      .map(({ signed, seenAtMs }) => ({ signed, ageMs: Math.max(0, nowMs - seenAtMs) }));
  }
}
