/** Several peers on this machine, as real processes, each with data and a port range of its own. */
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { dialable, discoveryRoutes, hostPort } from '@shoal/protocol';
import { ask } from './ask.ts';
import {
  type LaunchDeps,
  type LaunchedPeer,
  type OpenedPeer,
  openPeer,
  READY_TIMEOUT_MS,
} from './launch-peer.ts';
import type { PeerPlan } from './peer-plan.ts';
import { SlowStart } from './peer-processes.ts';
import { PORTS_PER_PEER, portsOf } from './ports.ts';
import { PROGRAM } from '../terminal/program-name.ts';
import { shellWord } from '../terminal/shell-word.ts';

/**
 * A peer starts with this many others as seeds: it learns the rest from them.
 * Past it: it learns of the others from them.
 */
const SEEDS_MAX = 4;
/**
 * Peers that start at once: each is six processes, which wait for each other rather than for a processor.
 * Past it: a peer starts when another is ready, or is slow.
 */
const STARTS_MAX = Math.max(5, 2 * availableParallelism());
/** While no more peers are seen by one. Past it: it is said, with the log to look in; the swarm goes on. */
const MEET_TIMEOUT_MS = 60_000;
const MEET_POLL_MS = 100;
/** One question for the peers that one sees. Past it: it is asked again. */
const PROBE_TIMEOUT_MS = 2000;

export interface SwarmPlan {
  readonly peers: number;
  readonly basePort: number;
  readonly host: string;
  readonly dataDir: string;
  readonly keyFile: string;
  /** Every client that reaches it may write, on a network too. */
  readonly isOpen?: boolean;
  /** The services of each peer share one process. */
  readonly isOneProcess?: boolean;
  /** How the command line is called. */
  readonly program?: string | undefined;
}

export interface LaunchedSwarm extends AsyncDisposable {
  readonly peers: readonly OpenedPeer[];
  /** Those that are not ready: slow ones, which join when they are, and those that can't start. */
  readonly missing: readonly OpenedPeer[];
}

/**
 * Starts a swarm and waits until those that are ready see each other. One that is slow, or can't start,
 * takes nobody else down: there is a swarm as soon as there is a peer.
 * @throws CommandFailure when a port, a data folder or a program is not to be had, or no peer is ready.
 */
export async function launchSwarm(
  plan: SwarmPlan,
  deps: LaunchDeps,
  {
    signal,
    patienceMs = READY_TIMEOUT_MS,
    meetMs = MEET_TIMEOUT_MS,
  }: {
    readonly signal: AbortSignal;
    /** How long each service of a peer is waited for, and how long a peer that sees no more of the others. */
    readonly patienceMs?: number;
    readonly meetMs?: number;
  },
): Promise<LaunchedSwarm> {
  await using starting = new AsyncDisposableStack();
  const opened = await openPeers({ ...plan, program: deps.program }, deps);
  starting.defer(async () => {
    await Promise.all(opened.map((peer) => peer[Symbol.asyncDispose]()));
  });
  const failures = await startAll(opened, { patienceMs, signal });
  const peers = opened.filter((peer) => !failures.has(peer));
  const missing = opened.filter((peer) => failures.has(peer));
  const [first] = failures.values();
  if (peers.length === 0) throw first;
  const waiting = new AbortController();
  for (const [peer, failure] of failures)
    void followUp(peer, failure, deps, { signal: waiting.signal });
  starting.defer(() => waiting.abort(new Error('the swarm is being stopped')));
  // One after another: when the first sees all, most others do, and their questions would slow them down.
  for (const peer of peers) await untilAllSeen(peer, peers.length, deps, { meetMs, signal });
  const running = starting.move();
  return { peers, missing, [Symbol.asyncDispose]: () => running.disposeAsync() };
}

/** Opens all peers, or none. */
async function openPeers(plan: SwarmPlan, deps: LaunchDeps): Promise<OpenedPeer[]> {
  const results = await Promise.allSettled(
    peerPlans(plan).map((peerPlan) => openPeer(peerPlan, deps)),
  );
  const opened = results.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
  const refusal = results.find((each) => each.status === 'rejected');
  if (refusal === undefined) return opened;
  await Promise.all(opened.map((peer) => peer[Symbol.asyncDispose]()));
  throw refusal.reason;
}

/** Starts the peers, some at a time, and waits for each; those that did not become ready, with the reason. */
async function startAll(
  opened: readonly OpenedPeer[],
  { patienceMs, signal }: { readonly patienceMs: number; readonly signal: AbortSignal },
): Promise<Map<OpenedPeer, unknown>> {
  const failures = new Map<OpenedPeer, unknown>();
  const waiting = opened.values();
  const startEach = async (): Promise<void> => {
    for (const peer of waiting)
      try {
        await peer.start({ signal });
        await peer.untilReady({ patienceMs, signal });
      } catch (error) {
        signal.throwIfAborted();
        failures.set(peer, error);
      }
  };
  await Promise.all(Array.from({ length: STARTS_MAX }, startEach));
  return failures;
}

/** Reports the start of a peer that the others did not wait for. */
async function followUp(
  peer: OpenedPeer,
  failure: unknown,
  { say }: LaunchDeps,
  { signal }: { signal: AbortSignal },
): Promise<void> {
  let last = failure;
  if (last instanceof SlowStart) {
    say(`${last.message}\n${peer.label} is slow: the others don't wait for it`);
    try {
      await peer.untilReady({ patienceMs: Infinity, signal });
      return say(`${peer.label} is ready now`);
    } catch (error) {
      last = error;
    }
  }
  if (signal.aborted) return;
  const how = peer.revivedBy === undefined ? '' : `; to try again: ${peer.revivedBy}`;
  say(`${(last as Error).message}\n${peer.label} is left down, the others go on${how}`);
  await peer.putDown();
}

/** The plan of each peer. mDNS is off: all addresses are known, and other swarms needn't hear of it. */
export function peerPlans({
  peers,
  basePort,
  host,
  dataDir,
  keyFile,
  isOpen = false,
  isOneProcess = false,
  program = PROGRAM,
}: SwarmPlan): PeerPlan[] {
  const ports = Array.from({ length: peers }, (_, index) =>
    portsOf(basePort + index * PORTS_PER_PEER),
  );
  return ports.map((own, index) => ({
    label: `peer ${index + 1}`,
    dataDir: join(dataDir, `peer-${index + 1}`),
    keyFile,
    host,
    ports: own,
    seeds: ports
      .filter((other) => other !== own)
      .slice(0, SEEDS_MAX)
      .map((other) => hostPort(dialable(host), other.libp2p)),
    hasMdns: false,
    isOpen,
    isOneProcess,
    staysDownWhenKilled: true,
    revivedBy: `${program} swarm --revive ${index + 1} --data-dir ${shellWord(dataDir)}`,
  }));
}

/** Waits until a peer sees that many; when for a while it sees no more than before, says so, and goes on. */
async function untilAllSeen(
  peer: LaunchedPeer,
  count: number,
  { say }: LaunchDeps,
  { meetMs, signal }: { meetMs: number; signal: AbortSignal },
): Promise<void> {
  let deadlineMs = performance.now() + meetMs;
  for (let most = 0; ;) {
    const alive = await countAlive(peer, { signal });
    if (alive >= count) return;
    if (alive > most) {
      most = alive;
      deadlineMs = performance.now() + meetMs;
    }
    if (performance.now() > deadlineMs)
      return say(
        `${peer.label} sees ${alive} of ${count} peers after ${meetMs / 1000} s; its logs/discovery.log says why`,
      );
    await sleep(MEET_POLL_MS, undefined, { signal });
  }
}

async function countAlive(
  { origins, prove }: LaunchedPeer,
  { signal }: { signal: AbortSignal },
): Promise<number> {
  const { method, path } = discoveryRoutes.listPeers;
  try {
    const { text } = await ask(`${origins.discovery}${path}`, {
      headers: prove({ method, path }),
      signal: AbortSignal.any([signal, AbortSignal.timeout(PROBE_TIMEOUT_MS)]),
    });
    const { peers } = discoveryRoutes.listPeers.reply.parse(JSON.parse(text));
    return peers.filter(({ state }) => state === 'alive').length;
  } catch {
    signal.throwIfAborted();
    return 0; // discovery is being restarted: asked again until the deadline
  }
}
