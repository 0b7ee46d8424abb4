/**
 * Twins: processes that run at the same time under one identity, because a data folder was copied (a
 * backup that was restored, a machine that was cloned) and both were started.
 *
 * Two that speak under one name take each other's place: members keep the record with the higher
 * incarnation, and one gossip stream for each peer id, so each would cut the other off, and the good-bye
 * of one would be the other's. So one of them stands aside: it closes its connections, refuses writes,
 * and is no member to the others. It still gives what it holds to clients of its own, and gets the
 * member table by plain calls. The other continues as if it were alone, with an incarnation above both.
 *
 * The one that started later stands aside, and stays so while there is another that doesn't; both see
 * the same order, so they can't fight. When the other has not been seen for some heartbeats (the folder
 * was moved after all, and the old process ended) this one takes the name again.
 *
 * A record under our name shows a twin when its run began after ours. One of an earlier run shows it only if
 * the process at its address signs a nonce now, or if its date is well after our start: records of our
 * own earlier runs circulate for long, so a restart must raise no alarm, and a member that relays them must
 * not silence us. A record of a twin from before it was found gone is such an old one too. Starts are ordered
 * by incarnation: with a clock that is behind, on another machine, the copy may count as the earlier one.
 */
import {
  type Log,
  type Loops,
  type PeerClient,
  RecentMap,
  type Target,
  targetAt,
} from '@shoal/chassis';
import { IdentityInUse, type MemberRecord, type PeerId, type TwinReport } from '@shoal/protocol';
import { compareRecords } from '@shoal/swarm';
import type { Metrics } from '../metrics.ts';
import type { AgedRecord } from '../network/messages.ts';
import type { Signed } from '../network/signed.ts';
import { meet } from './meet.ts';
import { compareRuns, OtherRuns, runOf } from './other-runs.ts';
import type { OwnRun } from './own-run.ts';

/** Heartbeats without sight of a twin. Past it: it is gone, and the peer that stands aside takes its place. */
const HEARTBEATS_GONE = 12;
/**
 * How far clocks of two machines mostly differ at most. Past it: a record dated that much after our start
 * is of a process that runs now.
 */
const CLOCKS_DIFFER_MAX_MS = 5 * 60_000;
/**
 * Addresses whose last call is remembered, each called once in a heartbeat. Past it: the oldest may be
 * called sooner.
 */
const CALLS_MAX = 64;

export interface TwinsDeps {
  readonly self: PeerId;
  /** This run; only twins make it stand aside. */
  readonly ownRun: OwnRun;
  readonly client: Pick<PeerClient, 'call'>;
  /** Our own record as it is signed now. */
  readonly own: () => { readonly record: MemberRecord; readonly signed: Signed };
  /** Where discovery services of members that are up answer. */
  readonly members: () => readonly Target[];
  readonly learn: (records: readonly AgedRecord[], from: PeerId) => void;
  /** Makes our records newer than this incarnation. */
  readonly outbid: (incarnation: number) => Promise<void>;
  /** The twin that `report` names is another one now, or there is none any more. */
  readonly onChange: () => void;
  /** Leaves the network, or comes back to it. */
  readonly setAside: (isAside: boolean) => void;
  /** A twin that shared our connections has left them: they must be made anew. */
  readonly reconnect: () => void;
  readonly heartbeatMs: () => number;
  readonly clock: () => number;
  readonly nowMs: () => number;
  readonly metrics: Pick<Metrics, 'twins' | 'twinAside'>;
  readonly log: Log;
}

export class Twins {
  readonly #deps: TwinsDeps;
  readonly #startedAtMs: number;
  readonly #runs = new OtherRuns();
  readonly #calledAtMs = new RecentMap<string, number>({ max: CALLS_MAX });
  readonly #stop = new AbortController();

  constructor(deps: TwinsDeps) {
    this.#deps = deps;
    this.#startedAtMs = deps.nowMs();
    deps.metrics.twins.set(0);
    deps.metrics.twinAside.set(0);
  }

  report(): TwinReport | undefined {
    const { ownRun, clock } = this.#deps;
    const twin = this.#runs.first();
    if (twin === undefined) return undefined;
    const seenMsAgo = Math.max(0, Math.round(clock() - twin.seenAtMs));
    const { gateway } = twin.record.http;
    return { isAside: ownRun.isAside, sinceMs: twin.run.sinceMs, seenMsAgo, gateway };
  }

  /** @throws IdentityInUse while this process stands aside. */
  check(): void {
    const problem = this.#problem();
    if (problem !== undefined) throw problem;
  }

  /** Why this process takes no part in the swarm while it stands aside, in a sentence. */
  whyAside(): string | undefined {
    return this.#problem()?.message;
  }

  /** That there is a twin, in a sentence for the person whose two folders these are. */
  notice(): string | undefined {
    const { isAside, twin: gateway } = this.#deps.ownRun;
    if (gateway === undefined || isAside) return this.whyAside();
    return `another process runs under this peer's identity, at ${gateway}: one of the two data folders is a copy of the other; that one stands aside and takes no writes; stop it, or start it as a peer of its own (shoal peer --new-identity)`;
  }

  /** Takes in a record under our own name that another peer sent. */
  see(record: MemberRecord): void {
    const run = runOf(record);
    if (run.id === this.#deps.ownRun.id) return;
    const known = this.#runs.get(run);
    if (known !== undefined && compareRecords(record, known.record) <= 0) return;
    const { atMs = 0 } = record;
    // The last records of a process that ended circulate for a while after it was found gone.
    const isOld =
      known === undefined
        ? !this.#isLater(record) && atMs <= this.#startedAtMs + CLOCKS_DIFFER_MAX_MS
        : atMs <= (known.goneAtMs ?? -Infinity) + CLOCKS_DIFFER_MAX_MS;
    if (isOld) void this.#ask(record);
    else this.#note(record);
  }

  /** Asks whether a process still answers where this folder was last run. */
  askFormer(record: MemberRecord): Promise<void> {
    return this.#ask(record);
  }

  /** Looks after twins until disposed. */
  start(loops: Loops): Disposable {
    const { heartbeatMs, log } = this.#deps;
    const stack = new DisposableStack();
    stack.defer(() => this.#stop.abort(new Error('stopping')));
    const onFailure = (err: unknown) => log.debug({ err }, 'twin not asked');
    const run = () => this.#look();
    stack.use(loops.start({ name: 'twins', everyMs: heartbeatMs, run, onFailure }));
    return stack;
  }

  #problem(): InstanceType<typeof IdentityInUse> | undefined {
    const { isAside, twin: gateway } = this.#deps.ownRun;
    return !isAside || gateway === undefined ? undefined : new IdentityInUse({ gateway });
  }

  /** Whether a run began after ours, whichever stands aside now. */
  #isLater(record: MemberRecord): boolean {
    const [its, ours] = [runOf(record), this.#deps.ownRun.read()];
    return compareRuns({ ...its, isAside: false }, { ...ours, isAside: false }) > 0;
  }

  /** Notes that a twin is there. */
  #note(record: MemberRecord): void {
    const { ownRun, clock, reconnect, log } = this.#deps;
    const run = runOf(record);
    const known = this.#runs.note(record, clock());
    const isNew = known === undefined || known.goneAtMs !== undefined;
    if (isNew)
      log.error(
        { twin: record.http.gateway, twinSinceMs: run.sinceMs },
        "another process runs under this peer's identity: one of the two data folders is a copy",
      );
    this.#decide();
    if (run.isAside && !ownRun.isAside && (isNew || !known.run.isAside)) reconnect();
  }

  /** Which of the processes stands aside: this one does while another has the name before it. */
  #decide(): void {
    const { ownRun, metrics, log, setAside, onChange } = this.#deps;
    metrics.twins.set(this.#runs.present().length);
    const first = this.#runs.first();
    const isBehind = first !== undefined && compareRuns(first.run, ownRun.read()) < 0;
    const gateway = first?.record.http.gateway;
    const isOther = gateway !== ownRun.twin;
    ownRun.twin = gateway;
    if (isBehind !== ownRun.isAside) {
      ownRun.isAside = isBehind;
      metrics.twinAside.set(isBehind ? 1 : 0);
      if (isBehind)
        log.error(
          { twin: first.record.http.gateway, twinSinceMs: first.run.sinceMs },
          'another process runs under this identity, and was first: this one stands aside and takes no writes; stop one of the two, or start this one with --new-identity',
        );
      else log.warn('the other process under this identity is gone: this one takes its place');
      setAside(isBehind);
    }
    this.#outbid();
    if (isOther) onChange();
  }

  #outbid(): void {
    const { ownRun, own, outbid, log } = this.#deps;
    const highest = this.#runs.highestIncarnation();
    if (ownRun.isAside || highest < own().record.incarnation) return;
    outbid(highest).catch((err: unknown) => log.warn({ err }, 'incarnation not raised'));
  }

  async #look(): Promise<void> {
    const { ownRun, clock, nowMs, heartbeatMs, log } = this.#deps;
    const seenBeforeMs = clock() - HEARTBEATS_GONE * heartbeatMs();
    for (const { record } of this.#runs.noteGone({ seenBeforeMs, wallMs: nowMs() }))
      log.info({ twin: record.http.gateway }, 'the other process under this identity is gone');
    this.#decide();
    const results = await Promise.allSettled(
      this.#runs.present().map(({ record }) => this.#meet(targetAt(record, 'discovery'))),
    );
    // A twin may be out of our reach, and not out of the members'.
    const isLost = ownRun.isAside && results.some(({ status }) => status === 'rejected');
    const members = isLost ? this.#deps.members() : [];
    const detour = members[Math.floor(Math.random() * members.length)];
    if (detour !== undefined) await this.#meet(detour);
  }

  /** Meets the process where a record of ours leads, at most once in a heartbeat: members relay any number. */
  async #ask(record: MemberRecord): Promise<void> {
    const { own, clock, heartbeatMs, log } = this.#deps;
    const origin = record.http.discovery;
    const lastMs = this.#calledAtMs.peek(origin) ?? -Infinity;
    if (origin === own().record.http.discovery || clock() - lastMs < heartbeatMs()) return;
    this.#calledAtMs.set(origin, clock());
    await this.#meet(targetAt(record, 'discovery')).catch((err: unknown) =>
      log.debug({ err, origin }, 'no twin answers where an earlier run was'),
    );
  }

  async #meet(target: Target): Promise<void> {
    const { self, ownRun, client, own, learn } = this.#deps;
    const { signal } = this.#stop;
    const introduction = own().signed;
    const { record, others } = await meet(target, { client, introduction, signal });
    if (target.peerId === self) {
      if (record.run?.id === ownRun.id) return;
      this.#note(record);
    }
    if (ownRun.isAside) learn(others, target.peerId);
  }
}
