/**
 * One peer: its Redis and its five services as child processes, started in the order in which they
 * lean on each other and stopped in the reverse one.
 *
 * Children are in process groups of their own, so that Ctrl-C reaches only the launcher and the
 * order holds. A launcher that is killed takes them along all the same: services watch for its end
 * (chassis), and Redis has a guard.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { get, type IncomingMessage } from 'node:http';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
// Not chassis as a whole: the launcher lives as long as the peer, without a server or a queue.
import { EXIT_CONFIG } from '@shoal/chassis/config';
import { openIdentity } from '@shoal/chassis/identity';
import { type PeerId, SERVICES, type Service } from '@shoal/protocol';
import { CommandFailure } from './failure.ts';
import { openLogFile, readTail } from './log-file.ts';
import { checkPorts, type PeerPorts } from './ports.ts';
import { findRedisServer, spawnRedis, waitForRedis } from './redis-server.ts';
import { closeRunFolder, lockFolder, openRunFolder } from './run-folder.ts';
import { supervise, type Supervised } from './supervise.ts';

/** Each leans on those before it. Stopped from the end: nobody's helper goes first. */
const START_ORDER = ['storage', 'discovery', 'transfer', 'chunker', 'gateway'] as const;
/** A service takes one to three seconds to start; more on a machine with work to do. */
const READY_TIMEOUT_MS = 60_000;
const READY_POLL_MS = 150;
const PROBE_TIMEOUT_MS = 2000;
/** A service that crashed this often before it was ever ready will not become so. */
const START_CRASHES_MAX = 4;
/** Above the services' own limit (SHUTDOWN_TIMEOUT_MS), so that they report what held them up. */
const STOP_TIMEOUT_MS = 12_000;
/**
 * Socket buffers die young, and a large nursery keeps many MiB of them before it looks: 28 MiB more
 * for each process, and twice the CPU a block (measured on storage: 930 ms for 512 MiB, not 2000).
 */
const NODE_FLAGS = ['--max-semi-space-size=2'];
/** File reads, writes and syncs of storage run side by side; Node's default is 4. */
const STORAGE_THREADS = '8';

/** What a peer is started with. */
export interface PeerPlan {
  /** What messages call it: `peer 3`, or `this peer`. */
  readonly label: string;
  readonly dataDir: string;
  readonly keyFile: string;
  /** Address that the services listen on. */
  readonly host: string;
  /** Address that other peers reach it at, when it is not `host`. */
  readonly advertiseHost?: string | undefined;
  readonly ports: PeerPorts;
  /** Addresses to join at: `host:port` of other peers' libp2p. */
  readonly seeds: readonly string[];
  readonly hasMdns: boolean;
  /** When all services are gone at once, somebody killed the peer: leave it down. */
  readonly staysDownWhenKilled: boolean;
}

export interface LaunchDeps {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Tells the person at the terminal about crashes and restarts. */
  readonly say: (line: string) => void;
  /** Takes the children's output, a line at a time, instead of their log files. */
  readonly echo?: ((source: string, line: string) => void) | undefined;
  /** Everything that was started is put here, for a caller who must end it at once. */
  readonly started: Set<Supervised>;
  /** Where the program of a service is. */
  readonly mainOf?: (service: Service) => string;
}

/** Names of a peer's processes, as in the line of `--json`. */
export type ProcessName = Service | 'redis';

export interface LaunchedPeer extends AsyncDisposable {
  readonly peerId: PeerId;
  readonly label: string;
  /** Where each service answers on this machine. */
  readonly origins: Readonly<Record<Service, string>>;
  /** `host:port` that other peers can give as a seed. */
  readonly libp2p: string;
  /** The processes that run now. */
  readonly pids: () => Readonly<Record<ProcessName, number | undefined>>;
}

/**
 * Starts a peer and waits until all its services can serve.
 * @throws CommandFailure when a port, the data folder or a program is not to be had, or when a
 *   service does not become ready.
 */
export async function launchPeer(
  plan: PeerPlan,
  deps: LaunchDeps,
  { signal }: { signal: AbortSignal },
): Promise<LaunchedPeer> {
  const { label, dataDir, host, ports } = plan;
  const redisProgram = findRedisServer(deps.env);
  const runDir = openRunFolder(dataDir);
  await using starting = new AsyncDisposableStack();
  starting.defer(() => closeRunFolder(runDir, dataDir));
  const { wasLeftBehind } = starting.use(await lockFolder(runDir, dataDir));
  const patienceMs = wasLeftBehind ? STOP_TIMEOUT_MS : 0;
  await checkPorts(ports, { host, whose: label, patienceMs });
  const { peerId } = openIdentity(join(dataDir, 'identity.key'));
  const origins = originsOf(plan);
  const socket = join(runDir, 'redis.sock');
  const env = environmentOf(plan, deps, { peerId, origins, socket });

  const children = new Map<ProcessName, Supervised>();
  let isDown = false;
  const isServiceAlive = () => SERVICES.some((name) => children.get(name)?.pid !== undefined);
  const mayRestart = (): boolean => {
    if (!plan.staysDownWhenKilled || isServiceAlive()) return true;
    if (!isDown)
      deps.say(`${label} was killed and stays down; stop and start the swarm to revive it`);
    isDown = true;
    children.get('redis')?.kill();
    return false;
  };
  const say = (line: string) => deps.say(`${label}: ${line}`);
  const add = (
    name: ProcessName,
    start: (output: number | 'ignore') => ChildProcess,
  ): Supervised => {
    const log = starting.use(openLogFile(logPath(dataDir, name), { say }));
    const child = supervise(
      { name, start: () => echoed(start(log.output()), `${label} ${name}`, deps.echo) },
      { mayRestart, say, stopTimeoutMs: STOP_TIMEOUT_MS },
    );
    children.set(name, child);
    deps.started.add(child);
    return starting.use(child);
  };

  add('redis', (log) =>
    spawnRedis({ program: redisProgram, socket, output: deps.echo === undefined ? log : 'pipe' }),
  );
  await waitForRedis(socket, { signal });
  const mainOf = deps.mainOf ?? serviceMain;
  const services = START_ORDER.map((service) => {
    const child = add(service, (log) => {
      const output = deps.echo === undefined ? log : 'pipe';
      return spawn(process.execPath, [...NODE_FLAGS, mainOf(service)], {
        env: service === 'storage' ? { ...env, UV_THREADPOOL_SIZE: STORAGE_THREADS } : env,
        stdio: ['ignore', output, output],
        detached: true,
      });
    });
    return [service, child] as const;
  });
  await Promise.all(
    services.map(([service, child]) =>
      untilReady(child, { origin: origins[service], label, dataDir }, { signal }),
    ),
  );

  const running = starting.move();
  return {
    peerId,
    label,
    origins,
    libp2p: hostPort(plan.advertiseHost ?? announced(host), ports.libp2p),
    pids: () =>
      Object.fromEntries(
        [...SERVICES, 'redis' as const].map((name) => [name, children.get(name)?.pid]),
      ) as Record<ProcessName, number | undefined>, // all names are there
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

function environmentOf(
  plan: PeerPlan,
  { env }: LaunchDeps,
  made: { peerId: PeerId; origins: Readonly<Record<Service, string>>; socket: string },
): Record<string, string | undefined> {
  const { host, advertiseHost, ports } = plan;
  const perService = SERVICES.flatMap((service) => {
    const name = service.toUpperCase();
    return [
      [`${name}_URL`, made.origins[service]],
      [`${name}_PORT`, String(ports[service])],
    ];
  });
  return {
    NODE_COMPILE_CACHE: compileCacheDir(env),
    ...env,
    SWARM_KEY: undefined, // they read the file
    PEER_ID: made.peerId,
    PEER_DATA_DIR: plan.dataDir,
    SWARM_KEY_FILE: plan.keyFile,
    REDIS_SOCKET: made.socket,
    BIND_HOST: host,
    LAUNCHER_PID: String(process.pid),
    ...Object.fromEntries(perService),
    DISCOVERY_LIBP2P_PORT: String(ports.libp2p),
    DISCOVERY_SEEDS: plan.seeds.join(','),
    DISCOVERY_MDNS: String(plan.hasMdns),
    ...(advertiseHost === undefined ? {} : { DISCOVERY_ADVERTISE_HOST: advertiseHost }),
  };
}

/** Compiled code is kept between starts: 25 processes of one swarm read the same modules. */
function compileCacheDir(env: LaunchDeps['env']): string | undefined {
  const cache = env['XDG_CACHE_HOME'] ?? (env['HOME'] && join(env['HOME'], '.cache'));
  if (!cache) return undefined;
  const dir = join(cache, 'shoal', 'node');
  try {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
  } catch {
    return undefined; // a home that can't be written to: starting takes longer, that is all
  }
  return dir;
}

async function untilReady(
  child: Supervised,
  { origin, label, dataDir }: { origin: string; label: string; dataDir: string },
  { signal }: { signal: AbortSignal },
): Promise<void> {
  const deadlineMs = performance.now() + READY_TIMEOUT_MS;
  let reason = 'it does not answer';
  for (;;) {
    signal.throwIfAborted();
    const answer = await probe(`${origin}/readyz`, { signal });
    if (answer === true && child.pid !== undefined) return;
    if (typeof answer === 'string') reason = answer;
    const isHopeless = child.lastExitCode === EXIT_CONFIG || child.crashes >= START_CRASHES_MAX;
    if (isHopeless || performance.now() > deadlineMs) {
      const path = logPath(dataDir, child.name);
      const how = isHopeless ? `ended (${child.lastEnd})` : `is not ready: ${reason}`;
      throw new CommandFailure(`${child.name} of ${label} ${how}\n${readTail(path)}\n(${path})`);
    }
    await wait(READY_POLL_MS, undefined, { signal });
  }
}

/** True when ready, a reason when it says why not, undefined without an answer. */
async function probe(
  url: string,
  { signal }: { signal: AbortSignal },
): Promise<true | string | undefined> {
  const either = AbortSignal.any([signal, AbortSignal.timeout(PROBE_TIMEOUT_MS)]);
  try {
    // Node's own client: the launcher stays as long as the peer, and asks nothing else over HTTP.
    const asking = get(url, { agent: false, signal: either });
    const [answer] = (await once(asking, 'response')) as [IncomingMessage]; // what that event gives
    let text = '';
    for await (const piece of answer.setEncoding('utf8')) text += String(piece);
    return answer.statusCode === 200 ? true : text.slice(0, 300);
  } catch {
    signal.throwIfAborted();
    return undefined; // not listening yet
  }
}

function echoed(child: ChildProcess, name: string, echo: LaunchDeps['echo']): ChildProcess {
  if (echo === undefined) return child;
  for (const stream of [child.stdout, child.stderr])
    if (stream) createInterface({ input: stream }).on('line', (line) => echo(name, line));
  return child;
}

function originsOf({ host, ports }: PeerPlan): Readonly<Record<Service, string>> {
  const pairs = SERVICES.map((service) => [
    service,
    `http://${hostPort(reachable(host), ports[service])}`,
  ]);
  return Object.fromEntries(pairs) as Record<Service, string>; // every service is in SERVICES
}

/** The address that discovery announces when it is told none: for "all of them", the first one of a network. */
function announced(host: string): string {
  if (host !== '0.0.0.0') return reachable(host);
  const all = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  const outer = all.find(({ internal, family }) => !internal && family === 'IPv4');
  return outer?.address ?? reachable(host);
}

/** An address that this machine can dial, for one that means "all of them". */
function reachable(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1';
  return host === '::' ? '::1' : host;
}

function hostPort(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

function logPath(dataDir: string, name: string): string {
  return join(dataDir, 'logs', `${name}.log`);
}

function serviceMain(service: Service): string {
  return fileURLToPath(new URL(`../../../services/${service}/src/main.ts`, import.meta.url));
}
