/**
 * Twins: processes that run at the same time under one identity, because a data folder was copied (a
 * backup that was restored, a machine that was cloned) and both were started.
 *
 * Two that speak under one name take each other's place: members keep the record with the higher
 * incarnation, and one gossip stream for each peer id, so each would cut the other off, and the good-bye
 * of one would be the other's. So one of them stands aside: it closes its connections, refuses writes,
 * and lets nobody take it for a member. It still gives what it holds to clients of its own, and gets the
 * member table by plain calls. The other goes on as if it were alone, with an incarnation above both.
 *
 * The one that started later stands aside, and stays so while any other is there that doesn't; both see
 * the same order, so they can't fight. When the other has not been seen for some heartbeats (the folder
 * was moved after all, and the old process ended) the name is taken again.
 *
 * A twin shows itself by a record under our name of a run that began after ours; or one of an earlier run, if
 * the process at its address signs a nonce now, or its date is well after our start. Old records of our
 * own earlier runs show neither, however long they go round, so a restart raises no alarm; and a member
 * that relays them can't silence us. Messages of a twin from before it was missed show as little. Starts are ordered by incarnation: with a clock that is behind, on
 * another machine, the copy may count as the earlier one.
 */
import { randomBytes } from 'node:crypto';
import type { Log, Loops, PeerClient } from '@shoal/chassis';
import {
  discoveryRoutes,
  IdentityInUse,
  type MemberRecord,
  type PeerId,
  type PeerRun,
  type TwinReport,
} from '@shoal/protocol';
import { compareRecords } from '@shoal/swarm';
import type { AgedRecord } from '../network/messages.ts';
import type { Metrics } from '../metrics.ts';
import type { OwnRun } from './own-run.ts';
import { isAuthentic, read, type Signed } from '../network/signed.ts';

/** A twin that was not seen for this many heartbeats is gone. */
const HEARTBEATS_GONE = 12;
/** Other runs of this identity that are remembered. */
const TWINS_MAX = 8;
/** Clocks of two machines differ by less, mostly: a record from that much after our start is no old one. */
const CLOCKS_DIFFER_MAX_MS = 5 * 60_000;
const CALL_TIMEOUT_MS = 2000;
/** Addresses whose last call is remembered. */
const CALLS_MAX = 64;

interface Twin {
  readonly record: MemberRecord;
  readonly run: PeerRun;
  /** On the clock that only goes forward. */
  readonly seenAtMs: number;
  /** By the wall clock, once it was not seen for too long. */
  readonly goneAtMs?: number;
}

export interface Twins {
  report(): TwinReport | undefined;
  /** @throws IdentityInUse while this process stands aside. */
  check(): void;
  /** Takes in a record under our own name, which somebody told us. */
  see(record: MemberRecord): void;
  /** Asks whether a process still answers where this folder was last run. */
  askFormer(record: MemberRecord): Promise<void>;
  /** Looks after twins until disposed. */
  start(loops: Loops): Disposable;
}

export function createTwins(deps: {
  readonly self: PeerId;
  /** This run; only twins make it stand aside. */
  readonly ownRun: OwnRun;
  readonly client: Pick<PeerClient, 'call'>;
  /** Our own record as it is signed now. */
  readonly own: () => { readonly record: MemberRecord; readonly signed: Signed };
  /** Where discovery services of members that are up answer. */
  readonly members: () => readonly { readonly peerId: PeerId; readonly origin: string }[];
  readonly learn: (records: readonly AgedRecord[], from: PeerId) => void;
  /** Makes our records newer than this incarnation. */
  readonly outbid: (incarnation: number) => Promise<void>;
  /** Leaves the network, or comes back to it. */
  readonly setAside: (isAside: boolean) => void;
  /** A twin that shared our connections has left them: they must be made anew. */
  readonly reconnect: () => void;
  readonly heartbeatMs: () => number;
  readonly clock: () => number;
  readonly nowMs: () => number;
  readonly metrics: Pick<Metrics, 'twins' | 'twinAside'>;
  readonly log: Log;
}): Twins {
  const { self, ownRun, client, own, clock, heartbeatMs, metrics, log } = deps;
  const startedAtMs = deps.nowMs();
  const twins = new Map<string, Twin>();
  const calledAtMs = new Map<string, number>();
  const stop = new AbortController();
  metrics.twins.set(0);
  metrics.twinAside.set(0);

  const present = () => [...twins.values()].filter(({ goneAtMs }) => goneAtMs === undefined);
  const firstOf = (all: readonly Twin[]) => all.toSorted((a, b) => comesFirst(a.run, b.run)).at(0);

  const outbid = (): void => {
    const highest = Math.max(...[...twins.values()].map(({ record }) => record.incarnation));
    if (ownRun.isAside || highest < own().record.incarnation) return;
    deps.outbid(highest).catch((err: unknown) => log.warn({ err }, 'incarnation not raised'));
  };
  const decide = (): void => {
    const others = present();
    metrics.twins.set(others.length);
    const first = firstOf(others);
    const isBehind = first !== undefined && comesFirst(first.run, ownRun.read()) < 0;
    if (isBehind !== ownRun.isAside) {
      ownRun.isAside = isBehind;
      metrics.twinAside.set(isBehind ? 1 : 0);
      if (isBehind)
        log.error(
          { twin: first?.record.http.gateway, twinSinceMs: first?.run.sinceMs },
          'another process runs under this identity, and was first: this one stands aside and takes no writes; stop one of the two, or start this one with --new-identity',
        );
      else log.warn('the other process under this identity is gone: this one takes its place');
      deps.setAside(isBehind);
    }
    outbid();
  };
  const note = (record: MemberRecord): void => {
    const its = runOf(record);
    const known = twins.get(its.id);
    if (known === undefined && twins.size >= TWINS_MAX) {
      const oldest = [...twins.values()].toSorted((a, b) => a.seenAtMs - b.seenAtMs)[0];
      if (oldest !== undefined) twins.delete(oldest.run.id);
    }
    twins.set(its.id, { record, run: its, seenAtMs: clock() });
    const isNew = known === undefined || known.goneAtMs !== undefined;
    if (isNew)
      log.error(
        { twin: record.http.gateway, twinSinceMs: its.sinceMs },
        "another process runs under this peer's identity: one of the two data folders is a copy",
      );
    decide();
    if (its.isAside && !ownRun.isAside && (isNew || !known.run.isAside)) deps.reconnect();
  };

  /** The process that answers at a discovery service, if it shows that it has our key and is not ourselves. */
  const meet = async (peerId: PeerId, origin: string): Promise<void> => {
    const nonce = randomBytes(24).toString('base64url');
    const { own: answer, others } = await client.call(
      { peerId, origin },
      discoveryRoutes.meet,
      { body: { nonce, record: own().signed } },
      { signal: stop.signal, timeoutMs: CALL_TIMEOUT_MS },
    );
    const record = read('member', answer).content;
    const isLive = record?.run?.nonce === nonce && isAuthentic('member', record, answer);
    if (!isLive || record.peerId !== peerId) throw new Error('somebody else answers there');
    if (peerId === self && record.run?.id === ownRun.id) return;
    if (peerId === self) note(record);
    if (ownRun.isAside) deps.learn(others, peerId);
  };
  /** The same now and then, for what members relay: a liar makes us call at most this often. */
  const ask = async (record: MemberRecord): Promise<void> => {
    const origin = record.http.discovery;
    const lastMs = calledAtMs.get(origin) ?? -Infinity;
    if (origin === own().record.http.discovery || clock() - lastMs < heartbeatMs()) return;
    if (calledAtMs.size >= CALLS_MAX) calledAtMs.clear();
    calledAtMs.set(origin, clock());
    await meet(self, origin).catch((err: unknown) =>
      log.debug({ err, origin }, 'nobody answers where an earlier run was'),
    );
  };
  const look = async (): Promise<void> => {
    const nowMs = clock();
    for (const [name, twin] of twins) {
      if (twin.goneAtMs !== undefined || nowMs - twin.seenAtMs <= HEARTBEATS_GONE * heartbeatMs())
        continue;
      twins.set(name, { ...twin, goneAtMs: deps.nowMs() });
      log.info({ twin: twin.record.http.gateway }, 'the other process under this identity is gone');
    }
    decide();
    const results = await Promise.allSettled(
      present().map(({ record }) => meet(self, record.http.discovery)),
    );
    // It may be out of our reach, and not out of theirs.
    const isLost = ownRun.isAside && results.some(({ status }) => status === 'rejected');
    const members = isLost ? deps.members() : [];
    const detour = members[Math.floor(Math.random() * members.length)];
    if (detour !== undefined) await meet(detour.peerId, detour.origin);
  };

  return {
    report() {
      const twin = firstOf(present());
      if (twin === undefined) return undefined;
      const seenMsAgo = Math.max(0, Math.round(clock() - twin.seenAtMs));
      const { gateway } = twin.record.http;
      return { isAside: ownRun.isAside, sinceMs: twin.run.sinceMs, seenMsAgo, gateway };
    },
    check() {
      const twin = firstOf(present());
      if (ownRun.isAside && twin !== undefined)
        throw new IdentityInUse({ gateway: twin.record.http.gateway });
    },
    see(record) {
      const its = runOf(record);
      if (its.id === ownRun.id) return;
      const known = twins.get(its.id);
      if (known !== undefined) {
        if (compareRecords(record, known.record) <= 0) return;
        // The last records of a process that ended go round for a while after it was missed.
        const isOld = (record.atMs ?? 0) <= (known.goneAtMs ?? -Infinity) + CLOCKS_DIFFER_MAX_MS;
        if (isOld) void ask(record);
        else note(record);
        return;
      }
      const isLater =
        comesFirst({ ...its, isAside: false }, { ...ownRun.read(), isAside: false }) > 0;
      const isAfterStart = (record.atMs ?? 0) > startedAtMs + CLOCKS_DIFFER_MAX_MS;
      if (isLater || isAfterStart) note(record);
      else void ask(record);
    },
    askFormer: ask,
    start(loops) {
      const stack = new DisposableStack();
      stack.defer(() => stop.abort(new Error('stopping')));
      const onFailure = (err: unknown) => log.debug({ err }, 'twin not asked');
      stack.use(loops.start({ name: 'twins', everyMs: heartbeatMs, run: look, onFailure }));
      return stack;
    },
  };
}

/** The record that this folder's last run signed; undefined for one of another peer, or none. */
export function readFormer(signed: Signed | undefined, self: PeerId): MemberRecord | undefined {
  if (signed === undefined) return undefined;
  const record = read('member', signed).content;
  const isOurs = record?.peerId === self && isAuthentic('member', record, signed);
  return isOurs ? record : undefined;
}

/** Below 0 when `a` has the name before `b`. */
function comesFirst(a: PeerRun, b: PeerRun): number {
  return (
    Number(a.isAside) - Number(b.isAside) ||
    a.sinceMs - b.sinceMs ||
    (a.id < b.id ? -1 : Number(a.id > b.id))
  );
}

/** A record of an earlier version tells its run by its incarnation. */
function runOf({ run, incarnation }: MemberRecord): PeerRun {
  return run ?? { id: `incarnation ${incarnation}`, sinceMs: incarnation, isAside: false };
}
