/**
 * Whom to call: seeds while we know few peers, members that we are not connected to, and now and then
 * one that is down, so that two halves of a swarm that was cut in two find each other again.
 */
import assert from 'node:assert';
import type { Log, Loops, TrackedLoop } from '@shoal/chassis';
import type { PeerId } from '@shoal/protocol';
import { hostOf } from '../network/addresses.ts';
import type { Wire } from '../network/wire.ts';
import { Calls, RETRY_MAX_MS, RETRY_MIN_MS } from './calls.ts';
import { FULL_MESH_MAX, type Membership } from './membership.ts';
import { resolveSeeds, type Seed } from './seeds.ts';
import { shuffle } from './shuffle.ts';

/** How often we look whom to call, while there is somebody. */
const ROUND_MS = 1000;
/** The same while all members are connected: what changes that begins a round by itself. */
const REST_MS = 15_000;
/** Connections that a peer keeps in a larger swarm. */
const DEGREE = 24;
/** Calls made in one round. */
const CALLS_PER_ROUND = 4;
/** Rounds of seeds without any connection before a person is warned. */
const LONELY_ROUNDS_MIN = 4;
/** With fewer connections than this the seeds are asked again. */
const FEW_CONNECTIONS = 3;
/**
 * Of two that hear of each other the one with the lower id calls at once. The other waits this long, or both would
 * call and connect twice; and no longer, since the first may not have heard of it.
 */
const YIELD_MS = 500;
/** Time between two calls to somebody who is down. */
const REVIVAL_MS = 10_000;
/**
 * A peer that meets nobody this long after its start takes itself for alone: a dial, and a second try.
 * Past it: it states what it knows by itself.
 */
const JOINING_MAX_MS = 10_000;
/** Whether a process listens at a seed, one question. Past it: the seed counts as away. */
const KNOCK_TIMEOUT_MS = 1000;
/** By then those on the local network that are up have answered the multicast question. */
const NEIGHBOURS_ANSWER_MS = 5000;

export interface JoinDeps {
  readonly self: PeerId;
  readonly seeds: readonly Seed[];
  readonly isOwn: (host: string, port: number) => boolean;
  /** Whether neighbours are looked for by multicast DNS. */
  readonly mdns: boolean;
  readonly membership: Membership;
  /** Whether we keep out of the network. */
  readonly isAside: () => boolean;
  readonly wire: Wire;
  readonly log: Log;
}

export class Join {
  readonly #deps: JoinDeps;
  readonly #stop = new AbortController();
  readonly #calls: Calls;
  /** Undefined until it starts. */
  #startedAtMs: number | undefined;
  #revivalAtMs: number;
  #next: { readonly timer: NodeJS.Timeout; readonly atMs: number } | undefined;
  #seeds: {
    /** Whether they were asked once, or there are none. */
    isTried: boolean;
    /** Whether one of them may be somebody else. */
    areOthers: boolean;
    /** Whether a process listens at one of them, although no connection came about. */
    isOneThere: boolean;
    /** Rounds in a row that ended without a connection. */
    lonelyRounds: number;
    dueAtMs: number;
    delayMs: number;
  };

  constructor(deps: JoinDeps) {
    this.#deps = deps;
    this.#calls = new Calls({ ...deps, signal: this.#stop.signal });
    this.#revivalAtMs = deps.membership.clock() + REVIVAL_MS;
    const hasSeeds = deps.seeds.length > 0;
    this.#seeds = {
      isTried: !hasSeeds,
      areOthers: hasSeeds,
      isOneThere: false,
      lonelyRounds: 0,
      dueAtMs: 0,
      delayMs: RETRY_MIN_MS,
    };
  }

  /** Why this peer can't speak for the swarm yet. */
  whyNotReady(): string | undefined {
    if (!this.#seeds.isTried) return 'the seeds have not been asked yet';
    // One that is busy accepts, and may take longer than a dial waits: the others don't know of us yet.
    const isOneThere = this.#deps.wire.engine().connected().length > 0 || this.#seeds.isOneThere;
    if (isOneThere && this.isJoining()) return 'no member has answered yet whom it knows';
    return undefined;
  }

  /**
   * Whether it was started a moment ago and knows of others of whom it has not heard since: what it
   * remembers of them is as old as its last run, and says nothing about now.
   */
  isJoining(): boolean {
    const { membership } = this.#deps;
    if (membership.hasMet()) return false;
    const hasOthers = this.#seeds.areOthers || membership.table.all().length > 0;
    const startedAtMs = this.#startedAtMs ?? membership.clock();
    return hasOthers && membership.clock() - startedAtMs < JOINING_MAX_MS;
  }

  /** Whether somebody may be there of whom we have not heard: a seed that is not us, or a neighbour. */
  mayBeMore(): boolean {
    const { mdns, membership } = this.#deps;
    const lookedForMs =
      this.#startedAtMs === undefined ? 0 : membership.clock() - this.#startedAtMs;
    return this.#seeds.areOthers || (mdns && lookedForMs < NEIGHBOURS_ANSWER_MS);
  }

  /** Calls from now on, until disposed. */
  start(loops: Loops): Disposable {
    const { self, membership, wire } = this.#deps;
    assert(this.#startedAtMs === undefined, 'joining starts once');
    this.#startedAtMs = membership.clock();
    wire.onDiscovered((peerId, addresses) => {
      if (peerId === self || wire.isConnected(peerId)) return;
      const known = addresses.filter((address) => hostOf(address) !== undefined);
      void this.#calls.call(peerId, known, peerId);
    });
    wire.on('connected', (peerId) => this.#calls.forget(peerId));
    membership.onChange((peerId, state) => {
      if (state === 'alive' && !wire.isConnected(peerId)) this.#meet(peerId);
      this.#schedule(loop, ROUND_MS);
    });
    membership.onSaidUp((peerId) => {
      const record = membership.table.get(peerId)?.record;
      if (record === undefined || !this.#isFullMesh() || wire.isConnected(peerId)) return;
      void this.#calls.call(peerId, record.libp2p, peerId);
    });
    wire.on('disconnected', () => this.#schedule(loop, ROUND_MS));
    const loop = loops.track('joining', () => this.#pauseMs());
    this.#look();
    this.#schedule(loop, ROUND_MS);
    const stack = new DisposableStack();
    stack.defer(() => clearTimeout(this.#next?.timer));
    stack.defer(() => this.#stop.abort(new Error('stopping')));
    return stack;
  }

  /** Looks again after that, unless it is to look sooner. */
  #schedule(loop: TrackedLoop, pauseMs: number): void {
    const { clock } = this.#deps.membership;
    const atMs = clock() + pauseMs * (0.8 + Math.random() * 0.4);
    if (this.#stop.signal.aborted || (this.#next !== undefined && this.#next.atMs <= atMs)) return;
    clearTimeout(this.#next?.timer);
    const look = async (): Promise<void> => {
      this.#next = undefined;
      await loop.run(async () => this.#look());
      this.#schedule(loop, this.#pauseMs());
    };
    const timer = setTimeout(() => {
      look().catch((err: unknown) => this.#deps.log.warn({ err }, 'looking for members broke off'));
    }, atMs - clock());
    this.#next = { timer: timer.unref(), atMs };
  }

  #pauseMs(): number {
    const { membership, seeds, wire } = this.#deps;
    const connected = new Set(wire.engine().connected());
    const unmet = membership.table.all().filter(({ record }) => !connected.has(record.peerId));
    const isOneUp = unmet.some(({ downAtMs }) => downAtMs === undefined);
    if (connected.size === 0 || (isOneUp && this.#wantsMore(connected.size))) return ROUND_MS;
    const isFew = connected.size < FEW_CONNECTIONS && seeds.length > 0;
    const dueAtMs = Math.min(
      unmet.length === 0 ? Infinity : this.#revivalAtMs,
      isFew ? this.#seeds.dueAtMs : Infinity,
    );
    return Math.min(REST_MS, Math.max(ROUND_MS, dueAtMs - membership.clock()));
  }

  /** Of two that hear of each other the one with the lower id calls. */
  #meet(peerId: PeerId): void {
    const { self } = this.#deps;
    if (self < peerId) return this.#callMember(peerId);
    this.#calls.holdBack(peerId, YIELD_MS);
    setTimeout(() => this.#callMember(peerId), YIELD_MS).unref();
  }

  #callMember(peerId: PeerId): void {
    const { membership, wire } = this.#deps;
    const member = membership.table.get(peerId);
    if (this.#stop.signal.aborted || member === undefined || member.downAtMs !== undefined) return;
    if (!this.#isFullMesh() || wire.isConnected(peerId)) return;
    this.#calls.holdBack(peerId, 0);
    void this.#calls.call(peerId, member.record.libp2p, peerId);
  }

  #look(): void {
    const { seeds, membership, isAside, wire, log } = this.#deps;
    if (isAside()) return;
    const connected = new Set(wire.engine().connected());
    this.#callMembers(connected);
    if (connected.size >= FEW_CONNECTIONS) this.#seeds.delayMs = RETRY_MIN_MS;
    else if (membership.clock() >= this.#seeds.dueAtMs && seeds.length > 0)
      this.#callSeeds().catch((err: unknown) => log.warn({ err }, 'seeds not called'));
  }

  #callMembers(connected: ReadonlySet<PeerId>): void {
    const members = this.#deps.membership.table
      .all()
      .filter(({ record }) => !connected.has(record.peerId));
    const isUp = ({ downAtMs }: { downAtMs: number | undefined }) => downAtMs === undefined;
    const up = this.#wantsMore(connected.size) ? members.filter(isUp) : [];
    const nowMs = this.#deps.membership.clock();
    const isRevival = connected.size === 0 || nowMs >= this.#revivalAtMs;
    if (isRevival) this.#revivalAtMs = nowMs + REVIVAL_MS;
    const down = isRevival ? shuffle(members.filter((member) => !isUp(member))) : [];
    const gone = connected.size === 0 ? down : down.slice(0, 1);
    for (const { record } of [...shuffle(up), ...gone].slice(0, CALLS_PER_ROUND))
      void this.#calls.call(record.peerId, record.libp2p, record.peerId);
  }

  async #callSeeds(): Promise<void> {
    const { isOwn, membership, wire, log } = this.#deps;
    const seeds = this.#seeds;
    seeds.dueAtMs = membership.clock() + seeds.delayMs;
    seeds.delayMs = Math.min(RETRY_MAX_MS, seeds.delayMs * 2);
    let isUnresolved = false;
    const addresses = await resolveSeeds(this.#deps.seeds, isOwn, (host, err) => {
      isUnresolved = true;
      log.warn({ err, host }, 'seed not resolved');
    });
    seeds.areOthers = isUnresolved || addresses.length > 0;
    const connected = new Set(wire.engine().connected());
    const known = membership.table
      .all()
      .filter(({ record }) => connected.has(record.peerId))
      .flatMap(({ record }) => record.libp2p);
    const unmet = addresses.filter((address) => !known.includes(address));
    await Promise.all(unmet.map((address) => this.#calls.call(address, [address])));
    const isAlone = wire.engine().connected().length === 0;
    const knock = isAlone && wire.engine().knock(unmet, { timeoutMs: KNOCK_TIMEOUT_MS });
    seeds.isOneThere = (await knock) === 'open';
    seeds.isTried = true;
    // A stranger's key and a peer that is down look alike from here; a person should look at both.
    // The first rounds may come before the others are up.
    seeds.lonelyRounds = wire.engine().connected().length === 0 ? seeds.lonelyRounds + 1 : 0;
    if (unmet.length > 0 && seeds.lonelyRounds >= LONELY_ROUNDS_MIN)
      log.warn(
        { seeds: unmet },
        'no seed let this peer in: are they up, of this version, and is the swarm key the same?',
      );
  }

  #wantsMore(connections: number): boolean {
    return this.#isFullMesh() || connections < DEGREE;
  }

  #isFullMesh(): boolean {
    return this.#deps.membership.table.size() <= FULL_MESH_MAX;
  }
}
