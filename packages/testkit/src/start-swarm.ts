/** Several real peers of one swarm, each with a launcher of its own, so that each can be killed alone. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { discoveryRoutes } from '@shoal/protocol';
import { request } from 'undici';
import { eventually } from './eventually.ts';
import {
  findBasePort,
  firstLine,
  hostCommand,
  hostedPlan,
  hostEnvironment,
  killAll,
  type Peer,
  type PeerOptions,
  readHostedLines,
  type RunningPeer,
  seedOf,
  startPeer,
  tailsOf,
  writeSwarmKey,
} from './start-peer.ts';
import { openTemporaryFolder } from './temporary-folder.ts';

const MEET_TIMEOUT_MS = 60_000;
/** Peers that start at once, as in `shoal swarm`: thirty together would wait for each other past any deadline. */
const STARTS_MAX = 5;
/** As `shoal swarm` does it. */
const SEEDS_MAX = 4;

/** A swarm for tests that only ask: nothing in it can be killed. */
export interface HostedSwarm extends AsyncDisposable {
  readonly peers: readonly Peer[];
  readonly keyFile: string;
}

export interface RunningSwarm extends AsyncDisposable {
  readonly peers: readonly RunningPeer[];
  readonly keyFile: string;
  /** Starts one more peer, which joins at the first one, and waits until it sees others. */
  addPeer(options?: { readonly env?: Readonly<Record<string, string>> }): Promise<RunningPeer>;
}

/** Starts `count` peers and waits until each sees all. */
export async function startSwarm(
  count: number,
  {
    env = {},
    optionsOf = () => ({}),
    processes = 'per service',
  }: {
    readonly env?: Readonly<Record<string, string>>;
    /** Of each peer; see `PeerOptions`. */
    readonly processes?: 'per service' | 'per peer';
    /** Options of the peer of this index alone: its host, its folder, settings on top of `env`. */
    readonly optionsOf?: (
      index: number,
    ) => Pick<PeerOptions, 'dataDir' | 'env' | 'host' | 'processes' | 'runThrough'>;
  } = {},
): Promise<RunningSwarm> {
  await using starting = new AsyncDisposableStack();
  const folder = starting.use(await openTemporaryFolder());
  const keyFile = join(folder.path, 'swarm.key');
  await writeSwarmKey(keyFile);
  const peers: RunningPeer[] = [];
  const basePorts = new Set<number>();
  while (basePorts.size < count) basePorts.add(await findBasePort());
  const seeds = [...basePorts].map((basePort, index) => seedOf(basePort, optionsOf(index).host));
  const waiting = [...basePorts].entries();
  const failures: unknown[] = [];
  const startEach = async (): Promise<void> => {
    for (const [index, basePort] of waiting) {
      const own = optionsOf(index);
      try {
        const peer = await startPeer({
          dataDir: join(folder.path, `peer-${index + 1}`),
          keyFile,
          basePort,
          // Any of them may be wiped later and has to find the others again.
          seeds: seeds.filter((_, other) => other !== index).slice(0, SEEDS_MAX),
          processes,
          ...own,
          env: { ...env, ...own.env },
        });
        peers[index] = starting.use(peer);
      } catch (error) {
        failures.push(error);
      }
    }
  };
  await Promise.all(Array.from({ length: STARTS_MAX }, startEach));
  if (failures.length > 0) throw failures[0];
  await untilAllSee(peers, count);
  const running = starting.move();
  return {
    peers,
    keyFile,
    async addPeer(options = {}) {
      const peer = running.use(
        await startPeer({
          dataDir: join(folder.path, `peer-${peers.length + 1}`),
          keyFile,
          seeds: peers.slice(0, 1).map(({ libp2p }) => libp2p),
          processes,
          env: { ...env, ...options.env },
        }),
      );
      peers.push(peer);
      await untilAllSee([peer], 2);
      return peer;
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

/** Starts `count` peers in one process, and waits until each sees all. */
export async function startHostedSwarm(
  count: number,
  {
    env = {},
    envOf = () => ({}),
  }: {
    readonly env?: Readonly<Record<string, string>>;
    /** Options of the peer of this index alone, on top of `env`. */
    readonly envOf?: (index: number) => Readonly<Record<string, string>>;
  } = {},
): Promise<HostedSwarm> {
  await using starting = new AsyncDisposableStack();
  const folder = starting.use(await openTemporaryFolder());
  const keyFile = join(folder.path, 'swarm.key');
  await writeSwarmKey(keyFile);
  const basePorts: number[] = [];
  while (basePorts.length < count) basePorts.push(await findBasePort());
  const ports = basePorts.map((basePort, index) => ({
    basePort,
    dataDir: join(folder.path, `peer-${index + 1}`),
    seeds: basePorts.filter((other) => other !== basePort).slice(0, SEEDS_MAX),
  }));
  const plans = ports.map(({ basePort, dataDir, seeds }, index) =>
    hostedPlan(
      { dataDir, keyFile, basePort, host: '127.0.0.1' },
      { seeds: seeds.map((seed) => seedOf(seed)), env: envOf(index) },
    ),
  );
  const [program, ...args] = hostCommand(plans);
  const host = spawn(program, args, {
    env: hostEnvironment(env),
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  });
  // The data is thrown away with the folder: no need to stop in order.
  starting.defer(() => killAll(host));
  const lines = readHostedLines(await firstLine(host));
  const peers = lines.map((line, index) => {
    const dataDir = join(folder.path, `peer-${index + 1}`);
    return { ...line, dataDir, keyFile, logTails: () => tailsOf(join(dataDir, 'logs')) };
  });
  await untilAllSee(peers, count);
  const running = starting.move();
  return { peers, keyFile, [Symbol.asyncDispose]: () => running.disposeAsync() };
}

/** Waits until each of these peers sees at least `count` members alive. */
export async function untilAllSee(peers: readonly Peer[], count: number): Promise<void> {
  await Promise.all(
    peers.map((peer) =>
      eventually(
        () => `${peer.peerId} sees ${count} peers\n${peer.logTails()}`,
        async () => (await listAlive(peer)).length >= count,
        { timeoutMs: MEET_TIMEOUT_MS },
      ),
    ),
  );
}

/** The members that a peer sees alive. */
export async function listAlive(peer: Peer) {
  const { body } = await request(`${peer.discovery}${discoveryRoutes.listPeers.path}`);
  const { peers } = discoveryRoutes.listPeers.reply.parse(await body.json());
  return peers.filter(({ state }) => state === 'alive');
}
