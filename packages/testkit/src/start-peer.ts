/**
 * A real peer for tests, on free ports and in a fresh folder, with its own Redis. It can be killed as a
 * whole and started again with its data. As `shoal peer` runs it, its services are processes that can be
 * killed one by one; with `processes: 'per peer'` they share one, which starts in a third of the time.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes, randomInt } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { env as ownEnv } from 'node:process';
import { createInterface } from 'node:readline';
import { createServer } from 'node:net';
import {
  arePortsFree,
  CLI_MAIN,
  compileCacheDir,
  type PeerPlan,
  PORTS_PER_PEER,
  portsOf,
  programOf,
} from '@shoal/cli';
import { hostPort, PeerId, SERVICES, type Service } from '@shoal/protocol';
import * as z from 'zod';
import { eventually } from './eventually.ts';
import { isRunning, listChildren, signalProcess } from './processes.ts';
import { openTemporaryFolder } from './temporary-folder.ts';

const HOST = '127.0.0.1';
/** Below the range that the system hands out for outgoing connections. */
const PORT_MIN = 12_000;
const PORT_MAX = 32_000;
const PORT_TRIES_MAX = 50;
const READY_TIMEOUT_MS = 90_000;
const STOP_TIMEOUT_MS = 30_000;
const LOG_TAIL_LINES = 15;
/** Of a peer's ports none is this far up: a listener there holds them all for the process that has it. */
const HOLDING_OFFSET = PORTS_PER_PEER - 1;
/** A program, not an import: services use testkit in their tests. */
const HOST_MAIN = programOf('packages/peer');
/** As the launcher starts services: a small nursery, and threads for files that are synced side by side. */
const HOST_FLAGS = ['--max-semi-space-size=2'];
const HOST_THREADS = '8';

const ReadyLine = z.object({
  peerId: PeerId,
  gateway: z.url(),
  chunker: z.url(),
  storage: z.url(),
  transfer: z.url(),
  discovery: z.url(),
  libp2p: z.string(),
});

export type ProcessName = Service | 'redis';

export interface PeerOptions {
  /** A folder to keep; default: a fresh one, removed in the end. */
  readonly dataDir?: string;
  /** The swarm to join; default: a swarm of its own. */
  readonly keyFile?: string;
  readonly basePort?: number;
  /** `host:port` of libp2p of other peers. */
  readonly seeds?: readonly string[];
  /** Settings of the services, by the names of their schemas. */
  readonly env?: Readonly<Record<string, string>>;
  /** Address that it listens on and is reached at; default: this machine alone. */
  readonly host?: string;
  /** A program, with its arguments, that runs the launcher, such as `ip netns exec name`. */
  readonly runThrough?: readonly string[];
  /** The unit that can be killed alone: each service, as `shoal peer` runs them (the default), or the peer. */
  readonly processes?: 'per service' | 'per peer';
  /** More options of `shoal peer`, where it is that which runs it. */
  readonly launcherArgs?: readonly string[];
}

/** A peer that can be asked. */
export interface Peer {
  /** Another one once it was wiped and started again. */
  readonly peerId: PeerId;
  readonly gateway: string;
  readonly chunker: string;
  readonly storage: string;
  readonly transfer: string;
  readonly discovery: string;
  /** `host:port` to give to others as a seed. */
  readonly libp2p: string;
  readonly dataDir: string;
  readonly keyFile: string;
  /** The last lines of each process's log. */
  logTails(): string;
}

export interface RunningPeer extends Peer, AsyncDisposable {
  /** Id of the process that all others are below: the launcher's, or the peer's. */
  readonly launcherId: number;
  /** Ids of the processes that run now; the same one for all services that share it. */
  processIds(): Partial<Record<ProcessName, number>>;
  /** SIGKILL to the launcher and everything below it. */
  kill(): Promise<void>;
  /** SIGKILL to one process; the launcher starts it again. Answers the id that it had. */
  killOne(name: ProcessName): number;
  /** Ends it in order, as Ctrl-C would. Answers the exit code. */
  stop(): Promise<number | null>;
  /** Starts it again after `kill` or `stop`, with its data. */
  start(): Promise<void>;
  /** Its disk is gone, after `kill` or `stop`: all of its folder but the swarm key, which is the operator's. */
  wipe(): Promise<void>;
}

/** Starts a peer and waits until it is ready. */
export async function startPeer(options: PeerOptions = {}): Promise<RunningPeer> {
  await using starting = new AsyncDisposableStack();
  const dataDir = options.dataDir ?? starting.use(await openTemporaryFolder()).path;
  const keyFile = options.keyFile ?? join(dataDir, 'swarm.key');
  const basePort = options.basePort ?? (await findBasePort());
  if (!existsSync(keyFile)) await writeSwarmKey(keyFile);
  const { host = HOST, runThrough = [] } = options;
  const isOneProcess = options.processes === 'per peer';
  let launcher: ChildProcess | undefined;

  const logTails = (): string => tailsOf(join(dataDir, 'logs'));
  const launch = async (): Promise<z.infer<typeof ReadyLine>> => {
    const at = { dataDir, keyFile, basePort, host };
    const [program, ...args] = isOneProcess
      ? hostCommand([hostedPlan(at, options)])
      : launcherCommand(at, options);
    const [first, ...rest] = [...runThrough, program, ...args] as [string, ...string[]]; // never empty
    const child = spawn(first, rest, {
      env: hostEnvironment(options.env),
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    launcher = child;
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-8192);
    });
    try {
      return readReadyLine(await firstLine(child));
    } catch (cause) {
      await killAll(child);
      throw new Error(`the peer did not start: ${said}\n${logTails()}`, { cause });
    }
  };
  let ready = await launch();
  starting.defer(async () => {
    if (launcher !== undefined) await killAll(launcher);
  });
  const launcherId = (): number => {
    if (launcher?.pid === undefined) throw new Error('the peer is not running');
    return launcher.pid;
  };
  const processIds = (): Partial<Record<ProcessName, number>> => {
    const id = launcherId();
    const here = isOneProcess ? SERVICES.map((service) => [service, id]) : [];
    return { ...processIdsBelow(id), ...Object.fromEntries(here) };
  };
  const running = starting.move();
  return {
    ...ready,
    get peerId() {
      return ready.peerId;
    },
    dataDir,
    keyFile,
    get launcherId() {
      return launcherId();
    },
    processIds,
    logTails,
    async kill() {
      if (launcher !== undefined) await killAll(launcher);
      launcher = undefined;
    },
    killOne(name) {
      if (isOneProcess && name !== 'redis') throw new Error(`${name} has no process of its own`);
      const processId = processIds()[name];
      if (processId === undefined) throw new Error(`${name} is not running`);
      signalProcess(processId, 'SIGKILL');
      return processId;
    },
    async stop() {
      const last = launcher;
      launcher = undefined;
      if (last === undefined) return null;
      const ended = once(last, 'exit', { signal: AbortSignal.timeout(STOP_TIMEOUT_MS) });
      last.kill('SIGTERM');
      try {
        const [code] = (await ended) as [number | null];
        return code;
      } catch (cause) {
        await killAll(last);
        throw new Error(`the peer did not stop\n${logTails()}`, { cause });
      }
    },
    async start() {
      if (launcher !== undefined) throw new Error('the peer is running');
      ready = await launch();
    },
    async wipe() {
      if (launcher !== undefined) throw new Error('the peer is running');
      const paths = (await readdir(dataDir)).map((name) => join(dataDir, name));
      const doomed = paths.filter((path) => path !== keyFile);
      // Retried, because a process that was just killed may still be writing its last file.
      for (const path of doomed) await rm(path, { recursive: true, force: true, maxRetries: 5 });
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

/** One peer of a process that hosts peers, as packages/peer's program takes it. */
export interface HostedPlan {
  readonly plan: PeerPlan;
  /** Settings of its services on top of the process's environment. */
  readonly env: Readonly<Record<string, string>>;
}

interface At {
  readonly dataDir: string;
  readonly keyFile: string;
  readonly basePort: number;
  readonly host: string;
}

function launcherCommand(
  { dataDir, keyFile, basePort, host }: At,
  { seeds = [], launcherArgs = [] }: PeerOptions,
): [string, ...string[]] {
  const args = [CLI_MAIN, 'peer', '--json', '--no-mdns', '--host', host];
  args.push('--data-dir', dataDir, '--key-file', keyFile, '--base-port', String(basePort));
  for (const seed of seeds) args.push('--seed', seed);
  args.push(...launcherArgs);
  return [process.execPath, ...args];
}

/** One peer of a process that hosts several. */
export function hostedPlan(
  { dataDir, keyFile, basePort, host }: At,
  { seeds = [], env = {} }: PeerOptions = {},
): HostedPlan {
  const ports = portsOf(basePort);
  return {
    plan: {
      label: `peer at ${basePort}`,
      dataDir,
      keyFile,
      host,
      ports,
      seeds,
      hasMdns: false,
      staysDownWhenKilled: true,
    },
    env,
  };
}

/** The command of a process that hosts these peers. */
export function hostCommand(plans: readonly HostedPlan[]): [string, ...string[]] {
  return [process.execPath, ...HOST_FLAGS, HOST_MAIN, JSON.stringify(plans)];
}

/** The environment of a launcher or a host in tests. */
export function hostEnvironment(env: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  return {
    NODE_COMPILE_CACHE: compileCacheDir(ownEnv),
    ...ownEnv,
    NODE_OPTIONS: '',
    STORAGE_FSYNC: 'false',
    UV_THREADPOOL_SIZE: HOST_THREADS,
    ...env,
  };
}

/** The line of a launcher on its peer, or of a host on its first one. */
function readReadyLine(line: string): z.infer<typeof ReadyLine> {
  const said: unknown = JSON.parse(line);
  return ReadyLine.parse(Array.isArray(said) ? said[0] : said);
}

/** The line of a host on its peers. */
export function readHostedLines(line: string): readonly z.infer<typeof ReadyLine>[] {
  return z.array(ReadyLine).parse(JSON.parse(line));
}

/**
 * Six free ports in a row, which no other caller on this machine gets while this process lives. Looking
 * whether they are free would not do: two tests may look before either listens.
 */
export async function findBasePort(): Promise<number> {
  for (let tries = 0; tries < PORT_TRIES_MAX; tries++) {
    const basePort =
      randomInt(PORT_MIN / PORTS_PER_PEER, PORT_MAX / PORTS_PER_PEER) * PORTS_PER_PEER;
    if ((await hold(basePort + HOLDING_OFFSET)) && (await arePortsFree(basePort, HOST)))
      return basePort;
  }
  throw new Error('no free ports');
}

/** Listens there for as long as this process lives, without keeping it alive. */
async function hold(port: number): Promise<boolean> {
  const server = createServer().unref();
  try {
    server.listen({ port, host: HOST, exclusive: true });
    await once(server, 'listening');
    return true;
  } catch {
    return false; // another program has it
  }
}

/** `host:port` that a peer at `basePort` can be joined at. */
export function seedOf(basePort: number, host = HOST): string {
  return hostPort(host, portsOf(basePort).libp2p);
}

/** Writes a new swarm key. */
export async function writeSwarmKey(file: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, randomBytes(32).toString('hex'), { mode: 0o600 });
}

/** The first line that a process says on stdout. */
export async function firstLine(child: ChildProcess): Promise<string> {
  if (child.stdout === null) throw new Error('no stdout');
  const lines = createInterface({ input: child.stdout });
  const timeout = AbortSignal.timeout(READY_TIMEOUT_MS);
  const [line] = (await Promise.race([
    once(lines, 'line', { signal: timeout }),
    once(lines, 'close', { signal: timeout }).then(() => {
      throw new Error('it ended before it was ready');
    }),
  ])) as [string];
  return line;
}

/** SIGKILL to a process and all that it started. */
export async function killAll(launcher: ChildProcess): Promise<void> {
  const { pid: launcherId } = launcher;
  if (launcherId === undefined) return;
  const children = listChildren(launcherId).map(({ processId }) => processId);
  // The launcher first: it would start the others again.
  const all = [launcherId, ...children];
  for (const processId of all) signalProcess(processId, 'SIGKILL');
  await eventually('all processes of the peer are gone', () => !all.some(isRunning));
}

function processIdsBelow(launcherId: number): Partial<Record<ProcessName, number>> {
  const found: Partial<Record<ProcessName, number>> = {};
  for (const { processId, command } of listChildren(launcherId)) {
    const service = SERVICES.find((name) => command.includes(programOf(`services/${name}`)));
    const name = service ?? (/^\S*(?:redis|valkey)-server/.test(command) ? 'redis' : undefined);
    if (name !== undefined) found[name] = processId;
  }
  return found;
}

/** The last lines of each log of a peer. */
export function tailsOf(logDir: string): string {
  let names: string[];
  try {
    names = readdirSync(logDir);
  } catch {
    return '(no logs)';
  }
  return names
    .map((name) => {
      const lines = readFileSync(join(logDir, name), 'utf8').trimEnd().split('\n');
      return `── ${name}\n${lines.slice(-LOG_TAIL_LINES).join('\n')}`;
    })
    .join('\n');
}
