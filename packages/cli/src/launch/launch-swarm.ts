/** Several peers on this machine, as real processes, each with data and a port range of its own. */
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
/** Until all peers see each other. Past it: it is said, with the log to look in; the swarm goes on. */
const MEET_TIMEOUT_MS = 60_000;
const MEET_POLL_MS = 100;
/** Until all peers see each other. Past it: it is said, with the log to look in; the swarm goes on. */
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
    /** How long each peer is waited for, and how long for all to see each other. */
    readonly patienceMs?: number;
    readonly meetMs?: number;
  },
): Promise<LaunchedSwarm> {
  await using starting = new AsyncDisposableStack();
  const opened = await openPeers({ ...plan, program: deps.program }, deps, { signal });
  starting.defer(async () => {
    await Promise.all(opened.map((peer) => peer[Symbol.asyncDispose]()));
  });
  const failures = new Map<OpenedPeer, unknown>();
  await Promise.all(
    opened.map(async (peer) => {
      try {
        await peer.untilReady({ patienceMs, signal });
      } catch (error) {
        signal.throwIfAborted();
        failures.set(peer, error);
      }
    }),
  );
  const peers = opened.filter((peer) => !failures.has(peer));
  const missing = opened.filter((peer) => failures.has(peer));
  const [first] = failures.values();
  if (peers.length === 0) throw first;
  const waiting = new AbortController();
  for (const [peer, failure] of failures)
    void followUp(peer, failure, deps, { signal: waiting.signal });
  starting.defer(() => waiting.abort(new Error('the swarm is being stopped')));
  await Promise.all(
    peers.map((peer) => untilAllSeen(peer, peers.length, deps, { meetMs, signal })),
  );
  const running = starting.move();
  return { peers, missing, [Symbol.asyncDispose]: () => running.disposeAsync() };
}

/** Opens all peers, or none. */
async function openPeers(
  plan: SwarmPlan,
  deps: LaunchDeps,
  { signal }: { signal: AbortSignal },
): Promise<OpenedPeer[]> {
  const failed = new AbortController();
  const either = AbortSignal.any([signal, failed.signal]);
  const results = await Promise.allSettled(
    peerPlans(plan).map(async (peerPlan) => {
      try {
        return await openPeer(peerPlan, deps, { signal: either });
      } catch (error) {
        failed.abort(error); // the first failure is the one to tell; the other peers needn't go on
        throw error;
      }
    }),
  );
  const opened = results.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
  if (!either.aborted) return opened;
  await Promise.all(opened.map((peer) => peer[Symbol.asyncDispose]()));
  throw either.reason;
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

/** Waits until a peer sees that many; past a while it says so, and goes on. */
async function untilAllSeen(
  peer: LaunchedPeer,
  count: number,
  { say }: LaunchDeps,
  { meetMs, signal }: { meetMs: number; signal: AbortSignal },
): Promise<void> {
  const deadlineMs = performance.now() + meetMs;
  for (;;) {
    const alive = await countAlive(peer.origins.discovery, { signal });
    if (alive >= count) return;
    if (performance.now() > deadlineMs)
      return say(
        `${peer.label} sees ${alive} of ${count} peers after ${meetMs / 1000} s; its logs/discovery.log says why`,
      );
    await sleep(MEET_POLL_MS, undefined, { signal });
  }
}

async function countAlive(origin: string, { signal }: { signal: AbortSignal }): Promise<number> {
  try {
    const { text } = await ask(`${origin}${discoveryRoutes.listPeers.path}`, {
      signal: AbortSignal.any([signal, AbortSignal.timeout(PROBE_TIMEOUT_MS)]),
    });
    const { peers } = discoveryRoutes.listPeers.reply.parse(JSON.parse(text));
    return peers.filter(({ state }) => state === 'alive').length;
  } catch {
    signal.throwIfAborted();
    return 0; // discovery is being restarted: asked again until the deadline
  }
}
