/**
 * The members, as they said themselves: every peer signs a record of itself (`presence.ts`); two peers that meet
 * tell each other all records that they know (push-pull). Records are relayed as they were signed, so nobody can
 * speak for another. They say nothing of whether a member lives: that is for probes to find out (`failure.ts`),
 * and one that others take for gone signs a newer record. The words that a relay adds (an age, that somebody is gone or
 * suspected) can make us look, and by itself neither keep a member alive nor end it (docs/decisions/0036).
 * Whom to call is `join.ts`.
 */
import type { Log, Loops, Roster } from '@shoal/chassis';
import type { Member, MemberRecord, PeerId } from '@shoal/protocol';
import { compareRecords, MemberTable, Rumours, toMember, type Verdict } from '@shoal/swarm';
import type { AgedRecord, MemberNews, Suspicion } from '../network/messages.ts';
import type { Metrics } from '../metrics.ts';
import type { Refusals } from '../network/refusals.ts';
import { isAuthentic, read, Signed } from '../network/signed.ts';
import type { Wire } from '../network/wire.ts';
import { Changes, type OnChange } from './changes.ts';
import { digestOf } from './digest.ts';
import { News } from './news.ts';
import type { OwnRecordDeps } from './own-record.ts';
import { isOwnRun, Presence, RESIGN_MS } from './presence.ts';
import { restoreMembers, type SavedMember, savedMembers } from './saved-member.ts';

/** Records that one which is news counts as, in what a member may tell: its signature is checked. */
const PRICE_OF_NEWS = 9;
/** Up to this many members everybody is connected to everybody, and watched by everybody. */
export const FULL_MESH_MAX = 64;
/** Records of which figures alone are new that one peer takes in a second, whatever the size: 1.8 ms of CPU each. */
const FIGURES_PER_SECOND = 20;
/** A member that is silent for this many heartbeats, and some milliseconds, is down. */
const HEARTBEATS_MISSED_MAX = 3;
const TTL_SLACK_MS = 500;
/** … and for this many rounds of probes, where those take longer. */
const ROUNDS_MISSED = 3;
/** A suspect has this many heartbeats to be heard of, and some milliseconds. */
const HEARTBEATS_SUSPECT = 2;
/** One that we don't probe has longer: all that clears it is a newer record, which comes by way of others. */
const HEARTBEATS_SUSPECT_AFAR = 5;
/**
 * One that we don't probe and have from others alone lives by that for this many of the times in which each member signs
 * anew: a first record, whose age nobody can tell, lasts shorter than later ones.
 */
const UNPROVEN_RESIGNS = 1.2;
/** Tables are compared often while young, then rarely: by then all has been told. */
const EXCHANGE_YOUNG_MS = 5000;
const EXCHANGE_MS = 30_000;
const YOUNG_MS = 60_000;

export interface MembershipDeps extends OwnRecordDeps {
  readonly wire: Wire;
  readonly heartbeatMs: number;
  /** Time between two probes. */
  readonly pingMs: number;
  readonly outAfterMs: number;
  /** Monotonic clock that the table's times are on. */
  readonly clock: () => number;
  /** Our own counter of losses, for the answers to probes; undefined when storage does not tell. */
  readonly losses?: () => number | undefined;
  /** This peer's view of a member, beside the member's own record. */
  readonly opinionOf: (peerId: PeerId) => Pick<Member, 'proofs' | 'isDistrusted'>;
  /** Decides which peers may be members. */
  readonly roster: Pick<Roster, 'hasMember' | 'onChange' | 'view'>;
  /** Makes this peer's roster and a member's the same. */
  readonly compareRoster: (peerId: PeerId) => Promise<void>;
  readonly refusals: Refusals;
  readonly metrics: Metrics;
  readonly log: Log;
}

export class Membership {
  readonly table: MemberTable<Signed>;
  readonly clock: () => number;
  /** Our own record, and how others hear of it. */
  readonly presence: Presence;
  readonly #deps: MembershipDeps;
  readonly #startedAtMs: number;
  readonly #changes: Changes;
  readonly #news: News;
  readonly #rumours = new Rumours();
  readonly #namesakes = new Set<(record: MemberRecord) => void>();
  #hasMet = false;
  readonly #saidUp = new Set<(peerId: PeerId) => void>();
  readonly #suspicions = new Set<(suspicion: Suspicion) => void>();
  readonly #connected = new Set<PeerId>();

  constructor(deps: MembershipDeps) {
    const { self, incarnation, outAfterMs, clock, wire } = deps;
    this.#deps = deps;
    this.clock = clock;
    this.#startedAtMs = clock();
    this.table = new MemberTable<Signed>({
      self,
      ttlMs: (peerId, isProven) => this.#ttlMs(peerId, isProven),
      suspicionMs: (peerId) => {
        const heartbeats = this.isWatched(peerId) ? HEARTBEATS_SUSPECT : HEARTBEATS_SUSPECT_AFAR;
        return deps.heartbeatMs * heartbeats + TTL_SLACK_MS;
      },
      outAfterMs,
      version: incarnation,
    });
    this.#news = new News({ clock, size: () => this.table.size() });
    this.#changes = new Changes({ ...deps, table: this.table });
    this.presence = new Presence({
      ...deps,
      changes: this.#changes,
      news: this.#news,
      figuresMs: () => this.heartbeatMs(),
    });
    deps.roster.onChange(() => this.#letGo());
    // The peer that brings a broadcast may have kept it: it is no word over the member's own connection.
    wire.listen('members', Signed, (from, signed) =>
      this.#learn({ signed, ageMs: 0 }, from, 'broadcast'),
    );
    wire.on('connected', (peerId) => {
      this.#connected.add(peerId);
      // It is watched from now on: as a member afar it may not have been heard of for long.
      if (this.table.hear(peerId, clock())) this.noteChanges([peerId]);
    });
    wire.on('disconnected', (peerId) => this.#connected.delete(peerId));
    wire.handle('exchange', (from, { records }) => {
      const known = this.#everything(); // before: what we thought of its sender is news to it
      this.learn(records, from);
      this.#hasMet = true;
      return { records: known };
    });
    wire.handle('ping', (from, { nonce, news }) => {
      if (news !== undefined) this.hearNews(news, from);
      const ours = this.takeNews();
      return {
        ...(nonce === undefined ? {} : { signed: this.presence.introduce(nonce) }),
        ...(ours === undefined ? {} : { news: ours }),
        losses: deps.losses?.(),
      };
    });
    wire.handle('members-digest', (_, { digest }) => ({ isEqual: digest === this.#digest() }));
  }

  /** Time between two records of which figures alone are new; longer in a large swarm, so that it costs the same. */
  heartbeatMs(): number {
    const members = this.table.size() + 1;
    return Math.max(this.#deps.heartbeatMs, (members / FIGURES_PER_SECOND) * 1000);
  }

  /** Whether this peer probes that member itself; of others it believes what is signed, and suspicions. */
  isWatched(peerId: PeerId): boolean {
    return this.table.size() <= FULL_MESH_MAX || this.#connected.has(peerId);
  }

  /** All members with ourselves first. */
  list(): Member[] {
    const own = this.presence.member();
    return [{ ...own, ...this.#nameOf(own.peerId) }, ...this.others()];
  }

  /** All members but ourselves. */
  others(): Member[] {
    const nowMs = this.clock();
    return this.table.all().map((member) => ({
      ...toMember(member, nowMs, this.table.outInMs(member.record.peerId, nowMs)),
      ...this.#deps.opinionOf(member.record.peerId),
      ...this.#nameOf(member.record.peerId),
    }));
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

  /** Calls back with members that do not answer, as somebody says, under the newest record that we have. */
  onSuspicion(listener: (suspicion: Suspicion) => void): void {
    this.#suspicions.add(listener);
  }

  /** Calls back with members that are down here, and up as somebody says: that is worth a call. */
  onSaidUp(listener: (peerId: PeerId) => void): void {
    this.#saidUp.add(listener);
  }

  /** Riders for the next probe or its answer. */
  takeNews(): MemberNews | undefined {
    return this.#news.take();
  }

  /** Takes in what came with one. */
  hearNews({ records, suspicions }: MemberNews, from: PeerId): void {
    this.learn(records, from);
    const { self, wire } = this.#deps;
    const ofOthers = suspicions.filter(({ peerId }) => peerId !== self);
    wire.budget.spend(from, 'suspicions', ofOthers.length);
    for (const suspicion of suspicions) this.#hearSuspicion(suspicion, from);
  }

  /** A member does not answer: it is a suspect, and the others will hear of it. */
  suspect(peerId: PeerId): void {
    if (!this.table.suspect(peerId, this.clock())) return;
    const record = this.table.get(peerId)?.record;
    if (record !== undefined) this.#news.addSuspicion(record);
    this.noteChanges([peerId]);
  }

  /** Nobody listens at the address of a member that we don't watch, and that others say does not answer. */
  noteRefusal(peerId: PeerId, incarnation: number): void {
    const record = this.table.get(peerId)?.record;
    if (record?.incarnation !== incarnation) return;
    if (this.isWatched(peerId)) return this.declareDown(peerId, incarnation);
    this.#act(record, this.#rumours.refuse(record, this.clock()));
  }

  /** The process of this incarnation is gone, as was seen here; those that don't see it will hear of it. */
  declareDown(peerId: PeerId, incarnation: number): void {
    if (!this.table.declareDown(peerId, incarnation, this.clock())) return;
    const record = this.table.get(peerId)?.record;
    if (record !== undefined) this.#news.addSuspicion(record);
    this.noteChanges([peerId]);
  }

  /** Takes in records that somebody told. */
  learn(records: readonly AgedRecord[], from: PeerId): void {
    for (const record of records) this.#learn(record, from);
  }

  /** The same, and takes that one's word for who lives: for a peer that can't look for itself. */
  believe(records: readonly AgedRecord[], from: PeerId): void {
    for (const record of records) this.#learn(record, from, 'believed');
  }

  /** Compares what is known of the members with one peer, and tells it all where they differ. */
  async compare(peerId: PeerId): Promise<void> {
    const question = { kind: 'members-digest', digest: this.#digest() } as const;
    const { isEqual } = await this.#deps.wire.request(peerId, question);
    if (!isEqual) await this.exchange(peerId);
  }

  /** Push-pull with one peer. */
  async exchange(peerId: PeerId): Promise<void> {
    const question = { kind: 'exchange', records: this.#everything() } as const;
    const { records } = await this.#deps.wire.request(peerId, question);
    this.learn(records, peerId);
    this.#hasMet = true;
  }

  /** Our own record with a nonce in it, which shows that we live, and those of all others. */
  introduce(nonce: string): { own: Signed; others: AgedRecord[] } {
    return { own: this.presence.introduce(nonce), others: this.#othersAged() };
  }

  /** Takes in records from an earlier run: known, but not believed to be up. */
  restore(saved: readonly SavedMember[]): void {
    const { table, clock } = this;
    restoreMembers(saved, { table, clock, refusals: this.#deps.refusals });
    for (const { record } of table.all())
      if (!this.#belongs(record.peerId)) table.remove(record.peerId);
    this.#changes.wake();
  }

  saved(): Map<PeerId, SavedMember> {
    return savedMembers(this.table, this.clock);
  }

  /** Says that this peer is here, and meets the others, until disposed. */
  start(loops: Loops): Disposable {
    const { self, wire, log } = this.#deps;
    this.#changes.count();
    const onFailure = (err: unknown) => log.debug({ err }, 'presence failed');
    const stack = new DisposableStack();
    stack.use(this.presence.start(loops, onFailure));
    // One side is enough: the other's answer comes with it.
    wire.on('connected', (peerId) => {
      if (self < peerId) this.exchange(peerId).catch(onFailure);
    });
    const isYoung = () => this.clock() - this.#startedAtMs < YOUNG_MS;
    stack.use(
      loops.start({
        name: 'exchange',
        everyMs: () => (isYoung() ? EXCHANGE_YOUNG_MS : EXCHANGE_MS),
        run: async () => {
          const connected = wire.engine().connected();
          const peerId = connected[Math.floor(Math.random() * connected.length)];
          if (peerId === undefined) return;
          await this.#deps.compareRoster(peerId);
          await this.compare(peerId);
        },
        onFailure,
      }),
    );
    return stack;
  }

  /** Somebody says that a member does not answer. Of a record that we don't have anybody can speak: ours is what counts. */
  #hearSuspicion(suspicion: Suspicion, from: PeerId): void {
    const { self } = this.#deps;
    const { peerId } = suspicion;
    const known = peerId === self ? this.presence.own().record : this.table.get(peerId)?.record;
    // Newer word of it is under way to them.
    if (known === undefined || compareRecords(suspicion, known) < 0) return;
    if (peerId === self) return this.presence.refute();
    if (!this.isWatched(peerId)) this.#act(known, this.#rumours.tell(known, from, this.clock()));
    const { incarnation, seq } = known;
    for (const listener of this.#suspicions) listener({ peerId, incarnation, seq });
  }

  #act({ peerId, incarnation }: MemberRecord, verdict: Verdict): void {
    if (verdict === 'suspect') this.suspect(peerId);
    if (verdict === 'gone') this.declareDown(peerId, incarnation);
  }

  /** Somebody takes a member for gone that we take for up: it should sign a newer record, or we look. */
  #confront({ peerId, incarnation, seq }: MemberRecord, from: PeerId): void {
    const known = this.table.get(peerId);
    if (known?.state !== 'alive') return;
    if (!this.#connected.has(peerId) && this.isWatched(peerId)) return;
    this.#hearSuspicion({ peerId, incarnation, seq }, from);
  }

  #belongs(peerId: PeerId): boolean {
    return this.#deps.roster.hasMember(peerId) !== false;
  }

  #nameOf(peerId: PeerId): Pick<Member, 'name'> {
    const name = this.#deps.roster.view.members.get(peerId)?.name;
    return name === undefined ? {} : { name };
  }

  /** Those that the roster has no more are out at once. */
  #letGo(): void {
    for (const { record } of this.table.all()) {
      if (this.#belongs(record.peerId)) continue;
      this.#changes.tell(record.peerId, 'out');
      this.table.remove(record.peerId);
    }
    this.#changes.noteOwn(); // names too
  }

  #ttlMs(peerId: PeerId, isProven: boolean): number {
    if (!this.isWatched(peerId))
      return RESIGN_MS * (isProven ? HEARTBEATS_MISSED_MAX : UNPROVEN_RESIGNS);
    const { heartbeatMs, pingMs } = this.#deps;
    const roundMs = (this.table.size() + 1) * pingMs;
    return Math.max(heartbeatMs * HEARTBEATS_MISSED_MAX, roundMs * ROUNDS_MISSED) + TTL_SLACK_MS;
  }

  #learn(
    { signed, ageMs, isGone = false }: AgedRecord,
    from: PeerId,
    how: 'told' | 'broadcast' | 'believed' = 'told',
  ): void {
    const { self, wire, refusals, metrics } = this.#deps;
    const said = read('member', signed);
    if (said.content === undefined) {
      metrics.messages.inc({ kind: 'record', outcome: 'malformed' });
      refusals.note({ what: 'member', from, name: said.name, reason: said.reason });
      return;
    }
    const record = said.content;
    if (record.peerId === self) {
      const isOwn = isOwnRun(record, this.#deps);
      if (isOwn && isGone) return this.presence.refute();
      if (isOwn || !isAuthentic('member', record, signed)) return;
      for (const listener of this.#namesakes) listener(record);
      return;
    }
    if (!this.#belongs(record.peerId)) return;
    const nowMs = this.clock();
    // A peer's own record over its own connection is as young as can be.
    const isDirect = record.peerId === from && how === 'told';
    const seenAtMs = nowMs - (isDirect ? 0 : ageMs);
    const isSaidGone = isGone && !isDirect;
    const news = { record, seenAtMs, isDirect: isDirect || how === 'believed', isSaidGone };
    if (isSaidGone) this.#confront(record, from);
    if (!this.table.isNews(news)) {
      const isDown = this.table.get(record.peerId)?.downAtMs !== undefined;
      if (isDown && !isGone) for (const listener of this.#saidUp) listener(record.peerId);
      return;
    }
    // One that signs without end is heard again when it has waited, or when tables are compared.
    if (!isDirect && wire.budget.waitMs(record.peerId) > 0) return;
    wire.budget.spend(from, 'records', PRICE_OF_NEWS);
    if (!isAuthentic('member', record, signed)) {
      metrics.messages.inc({ kind: 'record', outcome: 'refused' });
      const reason = 'signature: is not that of the peer';
      refusals.note({ what: 'member', from, name: record.peerId, reason });
      return;
    }
    wire.budget.spend(record.peerId, 'versions');
    const before = this.table.get(record.peerId)?.state;
    const learnt = this.table.learn({ ...news, signed }, nowMs);
    if (learnt !== 'stale' && learnt !== 'refreshed') this.#news.addRecord(record, signed);
    // Those that it is to meet next are connected to us, and hear of it before their turn.
    if (isDirect && (learnt === 'joined' || learnt === 'returned'))
      this.#deps.wire.broadcast('members', signed);
    if (learnt !== 'stale' && this.table.get(record.peerId)?.state !== before)
      this.#changes.tell(record.peerId);
    this.#changes.wake();
  }

  /** Of the members that are up, as far as their records go. */
  #digest(): string {
    const up = this.table.all().filter(({ downAtMs }) => downAtMs === undefined);
    return digestOf([this.presence.own().record, ...up.map(({ record }) => record)]);
  }

  #everything(): AgedRecord[] {
    return [{ signed: this.presence.own().signed, ageMs: 0 }, ...this.#othersAged()];
  }

  #othersAged(): AgedRecord[] {
    const nowMs = this.clock();
    return this.table.all().map(({ record, signed, heardAtMs, downAtMs }) => {
      const ageMs = Math.max(0, nowMs - heardAtMs);
      if (downAtMs !== undefined) return { signed, ageMs, isGone: true };
      // One that we don't watch was not heard of for long, and lives as far as we know.
      return { signed, ageMs: this.isWatched(record.peerId) ? ageMs : 0 };
    });
  }
}
