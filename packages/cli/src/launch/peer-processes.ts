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
import { lastWords } from './child/last-words.ts';
import { openLogFile, readTail } from './child/log-file.ts';
import { ask } from './ask.ts';
import { blockerIn, watchNotices } from './notices.ts';
import type { DescribedPeer, PeerPlan } from './peer-plan.ts';
import { programOf } from './programs.ts';
import { spawnRedis, waitForRedis } from './redis-server.ts';
import { supervise, type Supervised } from './child/supervise.ts';

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
  /** How the command line is called, in lines to be typed. */
  readonly program?: string | undefined;
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

/** Of what a service says why it is not ready. Past it: left out. */
const REASON_SHOWN_CHARS = 300;
/** Lines of a process that are kept to say why it ended, where none are in a file. Past it: the older ones go. */
const LINES_KEPT_MAX = 50;

/** A peer whose services may become ready all the same, if one waits longer. */
export class SlowStart extends CommandFailure {}

export interface PeerProcesses extends AsyncDisposable {
  readonly pids: () => Readonly<Record<ProcessName, number | undefined>>;
  /** All of it was killed, and is left so. */
  readonly isDown: () => boolean;
  /**
   * Resolves when all services can serve, or wait for a person alone: then with what one must know, which was said.
   * @throws SlowStart when for `patienceMs` no other service became ready; CommandFailure when one of them never will.
   */
  untilReady(options: { patienceMs: number; signal: AbortSignal }): Promise<string | undefined>;
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
  const wordsOf = new Map<Supervised, () => string>();
  let isDown = false;
  let hasServed = false;
  const isServiceAlive = () => SERVICES.some((name) => children.get(name)?.pid !== undefined);
  // Those that failed by themselves say so by their exit code; nobody killed them.
  const haveFailed = () => SERVICES.every((name) => (children.get(name)?.lastExitCode ?? 0) !== 0);
  const mayRestart = (): boolean => {
    if (!plan.staysDownWhenKilled || isServiceAlive() || haveFailed()) return true;
    const how = plan.revivedBy === undefined ? '' : `; to bring it back: ${plan.revivedBy}`;
    if (!isDown) deps.say(`${label} was killed and stays down${how}`);
    isDown = true;
    children.get('redis')?.kill();
    return false;
  };
  // A setting that is refused is refused again: `untilReady` says so.
  const isFinal = ({ lastExitCode }: Supervised) => !hasServed && lastExitCode === EXIT_CONFIG;
  const say = (line: string) => deps.say(`${label}: ${line}`);
  const add = (
    name: ProcessName | 'services',
    start: (output: number | 'ignore') => ChildProcess,
  ): Supervised => {
    const log = starting.use(openLogFile(logPath(dataDir, name), { say }));
    const heard = hear(`${label} ${name}`, deps.echo);
    const words = () =>
      lastWords(deps.echo === undefined ? log.written() : heard.lines().join('\n'), { name });
    const child: Supervised = supervise(
      { name, start: () => heard.listen(start(log.output())), lastWords: words },
      { mayRestart: () => !isFinal(child) && mayRestart(), say, stopTimeoutMs: STOP_TIMEOUT_MS },
    );
    for (const each of name === 'services' ? SERVICES : [name]) children.set(each, child);
    wordsOf.set(child, words);
    deps.started.add(child);
    return starting.use(child);
  };

  const failureOf = (child: Supervised): CommandFailure | undefined => {
    const { name, crashes, lastExitCode, lastEnd } = child;
    if (lastExitCode !== EXIT_CONFIG && crashes < START_CRASHES_MAX) return undefined;
    const words = wordsOf.get(child)?.() ?? '';
    const why = words === '' ? readTail(logPath(dataDir, name)) : words;
    return new CommandFailure(
      `${name} of ${label} does not start (${lastEnd}): ${why}${deps.echo === undefined ? `\nits log: ${logPath(dataDir, name)}` : ''}`,
    );
  };
  const server = add('redis', (log) =>
    spawnRedis({ ...redis, output: deps.echo === undefined ? log : 'pipe' }),
  );
  await waitForRedis(redis.socket, { failure: () => failureOf(server), signal });
  const mainOf = deps.mainOf ?? serviceMain;
  const addNode = (name: Service | 'services', main: string) =>
    add(name, (log) => {
      const output = deps.echo === undefined ? log : 'pipe';
      const readsFiles = name === 'storage' || name === 'services';
      return spawn(process.execPath, [...NODE_FLAGS, main], {
        env: readsFiles ? { ...env, UV_THREADPOOL_SIZE: STORAGE_THREADS } : env,
        stdio: ['pipe', output, output], // stdin: how it notices that we are gone
        detached: true,
      });
    });
  const one =
    plan.isOneProcess === true ? addNode('services', programOf('packages/peer')) : undefined;
  const services = START_ORDER.map(
    (service) => [service, one ?? addNode(service, mainOf(service))] as const,
  );
  const watching = starting.use(new DisposableStack());
  const running = starting.move();
  return {
    pids: () =>
      Object.fromEntries(
        [...SERVICES, 'redis' as const].map((name) => [name, children.get(name)?.pid]),
      ) as Record<ProcessName, number | undefined>, // all names are there
    isDown: () => isDown,
    async untilReady({ patienceMs, signal }) {
      const failure = () =>
        services.map(([, child]) => failureOf(child)).find((each) => each !== undefined);
      // One after another, as they depend on each other: a gateway that is asked asks all others.
      let heldUpBy: string | undefined;
      for (const [service, child] of services) {
        const deadlineMs = performance.now() + patienceMs;
        const at = { origin: origins[service], label, dataDir, deadlineMs, failure };
        const blocker = await untilReady(child, at, { signal });
        if (blocker !== undefined) say(blocker);
        heldUpBy ??= blocker;
      }
      const known = heldUpBy === undefined ? [] : [heldUpBy];
      if (!hasServed) watching.use(watchNotices(origins.discovery, say, { known }));
      hasServed = true;
      return heldUpBy;
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

/** Resolves when a service is ready, or to the reason why it will not be before a person acts. */
async function untilReady(
  child: Supervised,
  {
    origin,
    label,
    dataDir,
    deadlineMs,
    failure,
  }: {
    readonly origin: string;
    readonly label: string;
    readonly dataDir: string;
    readonly deadlineMs: number;
    /** Why one of the services will never be ready. */
    readonly failure: () => CommandFailure | undefined;
  },
  { signal }: { signal: AbortSignal },
): Promise<string | undefined> {
  let reason = 'it does not answer';
  for (;;) {
    signal.throwIfAborted();
    const answer = await probe(`${origin}/readyz`, { signal });
    if (answer === true && child.pid !== undefined) return undefined;
    const blocker = typeof answer === 'string' ? blockerIn(answer) : undefined;
    if (blocker !== undefined) return blocker;
    if (typeof answer === 'string') reason = answer.slice(0, REASON_SHOWN_CHARS);
    const failed = failure();
    if (failed !== undefined) throw failed;
    const path = logPath(dataDir, child.name);
    if (performance.now() > deadlineMs)
      throw new SlowStart(
        `${child.name} of ${label} is not ready: ${reason}\n${readTail(path)}\n(${path})`,
      );
    await sleep(READY_POLL_MS, undefined, { signal });
  }
}

/** True when ready, a reason when it says why not, undefined without an answer. */
async function probe(
  url: string,
  { signal }: { signal: AbortSignal },
): Promise<true | string | undefined> {
  const either = AbortSignal.any([signal, AbortSignal.timeout(PROBE_TIMEOUT_MS)]);
  try {
    const { status, text } = await ask(url, { signal: either });
    return status === 200 ? true : text;
  } catch {
    signal.throwIfAborted();
    return undefined; // not listening yet
  }
}

/** Hands the lines of a process on, and keeps the last ones; of the next process, its own. */
function hear(source: string, echo: LaunchDeps['echo']) {
  let last: string[] = [];
  return {
    lines: () => last,
    listen(child: ChildProcess): ChildProcess {
      if (echo === undefined) return child;
      const own: string[] = [];
      last = own;
      for (const stream of [child.stdout, child.stderr])
        if (stream)
          createInterface({ input: stream }).on('line', (line) => {
            own.push(line);
            if (own.length > LINES_KEPT_MAX) own.shift();
            echo(source, line);
          });
      return child;
    },
  };
}

function logPath(dataDir: string, name: string): string {
  return join(dataDir, 'logs', `${name}.log`);
}

function serviceMain(service: Service): string {
  return programOf(`services/${service}`);
}
