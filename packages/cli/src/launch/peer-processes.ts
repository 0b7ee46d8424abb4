/**
 * The processes of a peer: its Redis and its five services, started in the order in which they lean on
 * each other and stopped in the reverse one.
 *
 * Children are in process groups of their own, so that Ctrl-C reaches only the launcher and the
 * order holds. A launcher that is killed takes them along all the same: services notice the end of their stdin
 * (chassis), and Redis has a guard.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
// Not chassis as a whole: the launcher lives as long as the peer, without a server or a queue.
import { EXIT_CONFIG } from '@shoal/chassis/config';
import { SERVICES, type Service, START_ORDER } from '@shoal/protocol';
import { CommandFailure } from '../failure.ts';
import { ask } from '../ask.ts';
import { openLogFile, readTail } from './log-file.ts';
import type { DescribedPeer, PeerPlan } from './peer-plan.ts';
import { programOf } from './programs.ts';
import { spawnRedis, waitForRedis } from './redis-server.ts';
import { supervise, type Supervised } from './supervise.ts';

/** One service of each peer is asked at a time: the questions of a start stay below a hundredth of it. */
const READY_POLL_MS = 100;
/** Whether a service is ready, one question. Past it: it is asked again. */
const PROBE_TIMEOUT_MS = 2000;
/**
 * A service that crashed this often before it was ever ready will not become so.
 * Past it: a lone peer is stopped, with the end of the log; one of a swarm is left down.
 */
const START_CRASHES_MAX = 4;
/**
 * Above the services' own limit (SHUTDOWN_TIMEOUT_MS), so that they report what held them up.
 * Past it: killed.
 */
export const STOP_TIMEOUT_MS = 12_000;
/**
 * Socket buffers die young, and a large nursery keeps many MiB of them before it looks: 28 MiB more
 * for each process, and twice the CPU a block (measured on storage: 930 ms for 512 MiB, not 2000).
 */
const NODE_FLAGS = ['--max-semi-space-size=2'];
/** File reads, writes and syncs of storage run side by side; Node's default is 4. */
const STORAGE_THREADS = '8';

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

/** A peer whose services may become ready all the same, if one waits longer. */
export class SlowStart extends CommandFailure {}

export interface PeerProcesses extends AsyncDisposable {
  readonly pids: () => Readonly<Record<ProcessName, number | undefined>>;
  /** All of it was killed, and is left so. */
  readonly isDown: () => boolean;
  /**
   * Resolves when all services can serve.
   * @throws SlowStart past `patienceMs`; CommandFailure when one of them never will.
   */
  untilReady(options: { patienceMs: number; signal: AbortSignal }): Promise<void>;
}

/** Starts Redis, then the services; they are restarted when they crash. */
export async function startProcesses(
  plan: PeerPlan,
  {
    described: { origins, env },
    redis,
    deps,
  }: {
    readonly described: DescribedPeer;
    readonly redis: { readonly program: string; readonly socket: string };
    readonly deps: LaunchDeps;
  },
  { signal }: { signal: AbortSignal },
): Promise<PeerProcesses> {
  const { label, dataDir } = plan;
  await using starting = new AsyncDisposableStack();
  const children = new Map<ProcessName, Supervised>();
  let isDown = false;
  const isServiceAlive = () => SERVICES.some((name) => children.get(name)?.pid !== undefined);
  const mayRestart = (): boolean => {
    if (!plan.staysDownWhenKilled || isServiceAlive()) return true;
    const how = plan.revivedBy === undefined ? '' : `; to bring it back: ${plan.revivedBy}`;
    if (!isDown) deps.say(`${label} was killed and stays down${how}`);
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

  add('redis', (log) => spawnRedis({ ...redis, output: deps.echo === undefined ? log : 'pipe' }));
  await waitForRedis(redis.socket, { signal });
  const mainOf = deps.mainOf ?? serviceMain;
  const services = START_ORDER.map((service) => {
    const child = add(service, (log) => {
      const output = deps.echo === undefined ? log : 'pipe';
      return spawn(process.execPath, [...NODE_FLAGS, mainOf(service)], {
        env: service === 'storage' ? { ...env, UV_THREADPOOL_SIZE: STORAGE_THREADS } : env,
        stdio: ['pipe', output, output], // stdin: how it notices that we are gone
        detached: true,
      });
    });
    return [service, child] as const;
  });
  const running = starting.move();
  return {
    pids: () =>
      Object.fromEntries(
        [...SERVICES, 'redis' as const].map((name) => [name, children.get(name)?.pid]),
      ) as Record<ProcessName, number | undefined>, // all names are there
    isDown: () => isDown,
    async untilReady({ patienceMs, signal }) {
      const deadlineMs = performance.now() + patienceMs;
      const at = { label, dataDir, deadlineMs };
      // One after another, as they lean on each other: a gateway that is asked asks all others.
      for (const [service, child] of services) {
        const mayWait = () => services.forEach(([, each]) => refuseEnded(each, at));
        await untilReady(child, { ...at, origin: origins[service], mayWait }, { signal });
      }
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

interface Waited {
  readonly label: string;
  readonly dataDir: string;
  readonly deadlineMs: number;
}

async function untilReady(
  child: Supervised,
  {
    origin,
    mayWait,
    ...at
  }: Waited & {
    readonly origin: string;
    /** Throws when waiting has no point. */ readonly mayWait: () => void;
  },
  { signal }: { signal: AbortSignal },
): Promise<void> {
  let reason = 'it does not answer';
  for (;;) {
    signal.throwIfAborted();
    const answer = await probe(`${origin}/readyz`, { signal });
    if (answer === true && child.pid !== undefined) return;
    if (typeof answer === 'string') reason = answer;
    mayWait();
    if (performance.now() > at.deadlineMs)
      throw new SlowStart(
        `${child.name} of ${at.label} is not ready: ${reason}${behind(child, at)}`,
      );
    await sleep(READY_POLL_MS, undefined, { signal });
  }
}

/** @throws CommandFailure when a service ended that won't become ready. */
function refuseEnded(child: Supervised, at: Waited): void {
  if (child.lastExitCode !== EXIT_CONFIG && child.crashes < START_CRASHES_MAX) return;
  throw new CommandFailure(
    `${child.name} of ${at.label} ended (${child.lastEnd})${behind(child, at)}`,
  );
}

/** The end of a service's log, and where it is. */
function behind({ name }: Supervised, { dataDir }: Waited): string {
  const path = logPath(dataDir, name);
  return `\n${readTail(path)}\n(${path})`;
}

/** True when ready, a reason when it says why not, undefined without an answer. */
async function probe(
  url: string,
  { signal }: { signal: AbortSignal },
): Promise<true | string | undefined> {
  const either = AbortSignal.any([signal, AbortSignal.timeout(PROBE_TIMEOUT_MS)]);
  try {
    const { status, text } = await ask(url, { signal: either });
    return status === 200 ? true : text.slice(0, 300);
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

function logPath(dataDir: string, name: string): string {
  return join(dataDir, 'logs', `${name}.log`);
}

function serviceMain(service: Service): string {
  return programOf(`services/${service}`);
}
