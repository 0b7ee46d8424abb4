/**
 * Keeps one child process running: starts it again after a crash, later each time it crashes soon
 * again. Whether it may be started again is asked when the restart is due, not when it died, so that
 * the caller can tell one crash from a peer that was killed as a whole.
 */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';

/** First wait before a restart: long enough to see whether the others died as well. */
const RESTART_AFTER_MS = 300;
/** The pause before a restart doubles up to this, and there is no last one. Past it: it grows no more. */
const RESTART_AFTER_MAX_MS = 5000;
/** A process that ran this long had not crashed at start: its next restart is quick again. */
const STEADY_AFTER_MS = 30_000;

export interface Supervised extends AsyncDisposable {
  readonly name: string;
  /** The running process; undefined between a crash and the restart. */
  readonly pid: number | undefined;
  /** Crashes since it last ran steadily. */
  readonly crashes: number;
  /** How it last ended, in words. */
  readonly lastEnd: string | undefined;
  /** Exit code it last ended with; undefined after a signal. */
  readonly lastExitCode: number | undefined;
  /** Ends it at once, and for good. */
  kill(): void;
}

/** A program to be kept running. */
export interface Program {
  readonly name: string;
  readonly start: () => ChildProcess;
  /** The reason that the last process gave for its end; empty without one. */
  readonly lastWords?: () => string;
}

export interface SupervisePolicy {
  /** Asked when a restart is due; false leaves the process down for good. */
  readonly mayRestart: () => boolean;
  readonly say: (line: string) => void;
  /** Longest wait for a process to stop when asked; then it is killed. */
  readonly stopTimeoutMs: number;
}

/** Starts a process and supervises it until disposed. */
export function supervise(
  { name, start, lastWords = () => '' }: Program,
  { mayRestart, say, stopTimeoutMs }: SupervisePolicy,
): Supervised {
  let child: ChildProcess | undefined;
  let restart: NodeJS.Timeout | undefined;
  let startedAtMs = 0;
  let crashes = 0;
  let lastEnd: string | undefined;
  let lastExitCode: number | undefined;
  let isStopping = false;

  const run = (): void => {
    startedAtMs = performance.now();
    let started: ChildProcess;
    try {
      started = start();
    } catch (error) {
      // Node throws for some reasons, memory among them; for others it tells the child.
      return onEnd(undefined, `can't start: ${(error as Error).message}`);
    }
    child = started;
    started.once('error', (error) => {
      if (started.pid === undefined) onEnd(started, `can't start: ${error.message}`);
    });
    started.once('exit', (code, signal) => {
      lastExitCode = code ?? undefined;
      onEnd(started, signal ?? `exit ${code}`);
    });
  };
  const onEnd = (ended: ChildProcess | undefined, how: string): void => {
    if (child !== ended) return;
    child = undefined;
    lastEnd = how;
    if (isStopping) return;
    if (performance.now() - startedAtMs > STEADY_AFTER_MS) crashes = 0;
    const waitMs = restartDelayMs(crashes++);
    restart = setTimeout(() => {
      if (isStopping || !mayRestart()) return;
      const words = lastWords();
      say(`${name} ended (${how}${words === '' ? '' : `: ${words}`}); it is started again`);
      run();
    }, waitMs);
  };

  run();
  return {
    name,
    get pid() {
      return child?.pid;
    },
    get crashes() {
      return crashes;
    },
    get lastEnd() {
      return lastEnd;
    },
    get lastExitCode() {
      return lastExitCode;
    },
    kill() {
      isStopping = true;
      clearTimeout(restart);
      child?.kill('SIGKILL');
    },
    async [Symbol.asyncDispose]() {
      isStopping = true;
      clearTimeout(restart);
      const last = child;
      if (last === undefined) return;
      const ended = once(last, 'exit');
      last.kill('SIGTERM');
      const late = setTimeout(() => {
        say(`${name} did not stop in ${stopTimeoutMs / 1000} s; it is killed`);
        last.kill('SIGKILL');
      }, stopTimeoutMs);
      await ended;
      clearTimeout(late);
    },
  };
}

/** Wait before the restart that follows `crashes` earlier ones, in milliseconds. */
export function restartDelayMs(crashes: number): number {
  return Math.min(RESTART_AFTER_MS * 2 ** crashes, RESTART_AFTER_MAX_MS);
}
