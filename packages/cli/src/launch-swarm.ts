/** Several peers on this machine, as real processes, each with data and a port range of its own. */
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { discoveryRoutes } from '@shoal/protocol';
import { request } from 'undici';
import { CommandFailure } from './failure.ts';
import { type LaunchDeps, type LaunchedPeer, launchPeer } from './launch-peer.ts';
import type { PeerPlan } from './peer-plan.ts';
import { PORTS_PER_PEER, portsOf } from './ports.ts';

/** A peer is told of this many others: whom they know, it learns from them. */
const SEEDS_MAX = 4;
const MEET_TIMEOUT_MS = 60_000;
const MEET_POLL_MS = 100;
const PROBE_TIMEOUT_MS = 2000;

export interface SwarmPlan {
  readonly peers: number;
  readonly basePort: number;
  readonly host: string;
  readonly dataDir: string;
  readonly keyFile: string;
  /** Whoever reaches it may write, on a network too. */
  readonly isOpen?: boolean;
}

export interface LaunchedSwarm extends AsyncDisposable {
  readonly peers: readonly LaunchedPeer[];
}

/**
 * Starts a swarm and waits until every member sees all others.
 * @throws CommandFailure as `launchPeer` does, or when the peers don't find each other.
 */
export async function launchSwarm(
  plan: SwarmPlan,
  deps: LaunchDeps,
  { signal }: { signal: AbortSignal },
): Promise<LaunchedSwarm> {
  const failed = new AbortController();
  const either = AbortSignal.any([signal, failed.signal]);
  await using starting = new AsyncDisposableStack();
  const launches = peerPlans(plan).map(async (peerPlan) => {
    try {
      return await launchPeer(peerPlan, deps, { signal: either });
    } catch (error) {
      failed.abort(error); // the first failure is the one to tell; the other peers needn't go on
      throw error;
    }
  });
  const launched = await Promise.allSettled(launches);
  const peers: LaunchedPeer[] = [];
  for (const result of launched) if (result.status === 'fulfilled') peers.push(result.value);
  starting.defer(async () => {
    await Promise.all(peers.map((peer) => peer[Symbol.asyncDispose]()));
  });
  either.throwIfAborted();
  await Promise.all(peers.map((peer) => untilAllSeen(peer, peers.length, { signal })));
  const running = starting.move();
  return { peers, [Symbol.asyncDispose]: () => running.disposeAsync() };
}

/** The plan of each peer. mDNS is off: all addresses are known, and other swarms needn't hear of it. */
export function peerPlans({
  peers,
  basePort,
  host,
  dataDir,
  keyFile,
  isOpen = false,
}: SwarmPlan): PeerPlan[] {
  const ports = Array.from({ length: peers }, (_, index) =>
    portsOf(basePort + index * PORTS_PER_PEER),
  );
  const seedHost = host === '0.0.0.0' ? '127.0.0.1' : host;
  return ports.map((own, index) => ({
    label: `peer ${index + 1}`,
    dataDir: join(dataDir, `peer-${index + 1}`),
    keyFile,
    host,
    ports: own,
    seeds: ports
      .filter((other) => other !== own)
      .slice(0, SEEDS_MAX)
      .map((other) => `${seedHost}:${other.libp2p}`),
    hasMdns: false,
    isOpen,
    staysDownWhenKilled: true,
  }));
}

async function untilAllSeen(
  peer: LaunchedPeer,
  count: number,
  { signal }: { signal: AbortSignal },
): Promise<void> {
  const deadlineMs = performance.now() + MEET_TIMEOUT_MS;
  for (;;) {
    const alive = await countAlive(peer.origins.discovery, { signal });
    if (alive >= count) return;
    if (performance.now() > deadlineMs)
      throw new CommandFailure(
        `${peer.label} sees ${alive} of ${count} peers after ${MEET_TIMEOUT_MS / 1000} s; its logs/discovery.log says why`,
      );
    await wait(MEET_POLL_MS, undefined, { signal });
  }
}

async function countAlive(origin: string, { signal }: { signal: AbortSignal }): Promise<number> {
  try {
    const { body } = await request(`${origin}${discoveryRoutes.listPeers.path}`, {
      signal: AbortSignal.any([signal, AbortSignal.timeout(PROBE_TIMEOUT_MS)]),
    });
    const { peers } = discoveryRoutes.listPeers.reply.parse(await body.json());
    return peers.filter(({ state }) => state === 'alive').length;
  } catch {
    signal.throwIfAborted();
    return 0; // discovery is being restarted: asked again until the deadline
  }
}
