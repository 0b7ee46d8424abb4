/**
 * Whom to call: seeds while we know few peers, members that we are not connected to, and now and then
 * one that is down, so that two halves of a swarm that was cut in two find each other again.
 */
import type { Log, Loops } from '@shoal/chassis';
import type { PeerId } from '@shoal/protocol';
import type { Membership } from './membership.ts';
import { hostOf } from '../network/addresses.ts';
import { resolveSeeds, type Seed } from './seeds.ts';
import type { Wire } from '../network/wire.ts';

/** How often we look whom to call. */
const ROUND_MS = 1000;
/** Up to this many members everybody is connected to everybody. */
export const FULL_MESH_MAX = 64;
/** Connections that a peer keeps in a larger swarm. */
const DEGREE = 24;
/** Calls made in one round. */
const CALLS_PER_ROUND = 4;
const CALL_TIMEOUT_MS = 5000;
/** Rounds of seeds without any connection before a person is told. */
const LONELY_ROUNDS_MIN = 4;
/** With fewer connections than this the seeds are asked again. */
const FEW_CONNECTIONS = 3;
/** Wait after a failed call, doubled each time up to the maximum; the same for rounds of seeds. */
const RETRY_MIN_MS = 1000;
const RETRY_MAX_MS = 15_000;
/** The peer with the lower id calls at once, the other waits: else both call and connect twice. */
const YIELD_MS = 3000;
/** Rounds between two calls to somebody who is down. */
const ROUNDS_PER_REVIVAL = 10;
/** A sign of life younger than this outweighs a refusal: it may be starting. */
const HEARD_NOW_MS = 1000;
const KNOCK_TIMEOUT_MS = 1000;
/** By then those on the local network that are up have answered the multicast question. */
const NEIGHBOURS_ANSWER_MS = 5000;
/** Peers whose failed calls are remembered. */
const RETRIES_MAX = 2048;

export interface Join extends Disposable {
  /** Whether the seeds were tried once, or there are none. */
  isTried(): boolean;
  /** Whether somebody may be there of whom we have not heard: a seed that is not us, or a neighbour. */
  mayBeMore(): boolean;
}

export function startJoin(deps: {
  readonly self: PeerId;
  readonly seeds: readonly Seed[];
  readonly isOwn: (host: string, port: number) => boolean;
  /** Whether neighbours are looked for by multicast DNS. */
  readonly mdns: boolean;
  readonly membership: Membership;
  /** Whether we keep out of the network. */
  readonly isAside: () => boolean;
  readonly wire: Wire;
  readonly loops: Loops;
  readonly log: Log;
}): Join {
  const { self, seeds, isOwn, mdns, membership, wire, loops, log } = deps;
  const { table, clock } = membership;
  const stop = new AbortController();
  const retries = new Map<string, { atMs: number; delayMs: number }>();
  const calling = new Set<string>();
  const startedAtMs = clock();
  let isTried = seeds.length === 0;
  let areSeedsOthers = seeds.length > 0;
  let lonelyRounds = 0;
  let seedsAtMs = 0;
  let seedsDelayMs = RETRY_MIN_MS;
  let round = 0;

  const call = async (name: string, addresses: readonly string[], peerId?: PeerId) => {
    if (calling.has(name) || addresses.length === 0 || stop.signal.aborted) return;
    const last = retries.get(name);
    if (last !== undefined && last.atMs > clock()) return;
    calling.add(name);
    try {
      const signal = AbortSignal.any([stop.signal, AbortSignal.timeout(CALL_TIMEOUT_MS)]);
      await wire.engine().dial(addresses, { ...(peerId === undefined ? {} : { peerId }), signal });
      retries.delete(name);
    } catch (err) {
      if (stop.signal.aborted) return;
      log.debug({ err, to: name }, 'call failed');
      const delayMs = Math.min(RETRY_MAX_MS, (last?.delayMs ?? RETRY_MIN_MS / 2) * 2);
      if (retries.size >= RETRIES_MAX) retries.clear();
      retries.set(name, { atMs: clock() + delayMs, delayMs });
      if (peerId !== undefined) await doubt(peerId);
    } finally {
      calling.delete(name);
    }
  };
  /** A member that we only heard of, and not in this moment, and that refuses us is gone. */
  const doubt = async (peerId: PeerId): Promise<void> => {
    const member = table.get(peerId);
    if (member === undefined || member.downAtMs !== undefined) return;
    if (clock() - member.heardAtMs < HEARD_NOW_MS) return;
    const { libp2p: addresses, incarnation } = member.record;
    const knock = await wire.engine().knock(addresses, { timeoutMs: KNOCK_TIMEOUT_MS });
    if (knock !== 'refused' || wire.isConnected(peerId)) return;
    if (table.declareDown(peerId, incarnation, clock())) membership.noteChanges([peerId]);
  };
  const callSeeds = async (): Promise<void> => {
    seedsAtMs = clock() + seedsDelayMs;
    seedsDelayMs = Math.min(RETRY_MAX_MS, seedsDelayMs * 2);
    let isUnresolved = false;
    const addresses = await resolveSeeds(seeds, isOwn, (host, err) => {
      isUnresolved = true;
      log.warn({ err, host }, 'seed not resolved');
    });
    areSeedsOthers = isUnresolved || addresses.length > 0;
    const connected = new Set(wire.engine().connected());
    const known = table
      .all()
      .filter(({ record }) => connected.has(record.peerId))
      .flatMap(({ record }) => record.libp2p);
    const calls = addresses.filter((address) => !known.includes(address));
    await Promise.all(calls.map((address) => call(address, [address])));
    isTried = true;
    // A stranger's key and a peer that is down look alike from here; a person should look at both.
    // The first rounds may come before the others are up.
    lonelyRounds = wire.engine().connected().length === 0 ? lonelyRounds + 1 : 0;
    if (calls.length > 0 && lonelyRounds >= LONELY_ROUNDS_MIN)
      log.warn(
        { seeds: calls },
        'no seed let this peer in: are they up, and is the swarm key the same?',
      );
  };
  const callMembers = (connected: ReadonlySet<PeerId>): void => {
    const members = table.all().filter(({ record }) => !connected.has(record.peerId));
    const isUp = ({ downAtMs }: { downAtMs: number | undefined }) => downAtMs === undefined;
    const degree = table.all().length <= FULL_MESH_MAX ? Infinity : DEGREE;
    const up = connected.size < degree ? members.filter(isUp) : [];
    const isRevival = connected.size === 0 || round % ROUNDS_PER_REVIVAL === 0;
    const down = isRevival ? shuffle(members.filter((member) => !isUp(member))) : [];
    const gone = connected.size === 0 ? down : down.slice(0, 1);
    for (const { record } of [...shuffle(up), ...gone].slice(0, CALLS_PER_ROUND))
      void call(record.peerId, record.libp2p, record.peerId);
  };
  wire.onDiscovered((peerId, addresses) => {
    if (peerId === self || wire.isConnected(peerId)) return;
    void call(
      peerId,
      addresses.filter((address) => hostOf(address) !== undefined),
      peerId,
    );
  });
  wire.on('connected', (peerId) => retries.delete(peerId));
  membership.onChange((peerId, state) => {
    if (state !== 'alive' || wire.isConnected(peerId)) return;
    const isOurs = self < peerId;
    const delayMs = isOurs ? 0 : YIELD_MS;
    retries.set(peerId, { atMs: clock() + delayMs, delayMs: RETRY_MIN_MS / 2 });
    const member = table.get(peerId);
    if (isOurs && member !== undefined && table.all().length <= FULL_MESH_MAX)
      void call(peerId, member.record.libp2p, peerId);
  });

  const onFailure = (err: unknown) => log.warn({ err }, 'joining broke');
  const work = (): void => {
    if (deps.isAside()) return;
    round += 1;
    const connected = new Set(wire.engine().connected());
    callMembers(connected);
    if (connected.size < FEW_CONNECTIONS && clock() >= seedsAtMs && seeds.length > 0)
      void callSeeds().catch(onFailure);
    if (connected.size >= FEW_CONNECTIONS) seedsDelayMs = RETRY_MIN_MS;
  };
  const stack = new DisposableStack();
  stack.defer(() => stop.abort(new Error('stopping')));
  work();
  stack.use(
    loops.start({
      name: 'joining',
      everyMs: () => ROUND_MS * (0.8 + Math.random() * 0.4),
      run: work,
    }),
  );
  return {
    isTried: () => isTried,
    mayBeMore: () => areSeedsOthers || (mdns && clock() - startedAtMs < NEIGHBOURS_ANSWER_MS),
    [Symbol.dispose]: () => stack.dispose(),
  };
}

/** In random order, so that not everybody calls the same peer first. */
function shuffle<T>(items: readonly T[]): T[] {
  return items
    .map((item) => ({ item, rank: Math.random() }))
    .toSorted((a, b) => a.rank - b.rank)
    .map(({ item }) => item);
}
