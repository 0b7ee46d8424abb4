import { ConfigError, EXIT_CONFIG } from './config.ts';
import { createLog } from './log.ts';
import type { ConfiguredService, ProgramDefinition } from './service.ts';

/**
 * Node ends a process that writes to a full disk by `console`, as lmdb does to say that the disk is full:
 * nobody listens for the error of stdout and stderr. A line that can't be written is lost, and nothing else.
 */
function outliveOutput(): void {
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
}

/**
 * Runs a service until SIGTERM, SIGINT or the end of its launcher: parse, start, wait, dispose. A
 * second signal ends it at once. Whatever goes wrong at start is one clear line, and an exit code
 * that tells configuration (78) from the rest (1).
 */
export async function runService(
  definition: ProgramDefinition,
  env: Readonly<Record<string, string | undefined>>,
): Promise<void> {
  outliveOutput();
  let configured: ConfiguredService;
  try {
    configured = definition.configure(env);
  } catch (error) {
    process.stderr.write(`${definition.name}: ${String((error as Error).message)}\n`);
    process.exit(EXIT_CONFIG);
  }
  const { LAUNCHER_PID, LOG_LEVEL, PEER_ID, SHUTDOWN_TIMEOUT_MS } = configured.config;
  const log = createLog(definition.name, LOG_LEVEL, { self: PEER_ID });
  const stop = new Promise<string>((resolve) => {
    let isAsked = false;
    const onSignal = (signal: string) => {
      if (isAsked) process.exit(1);
      isAsked = true;
      resolve(signal);
    };
    process.on('SIGTERM', onSignal);
    process.on('SIGINT', onSignal);
    if (LAUNCHER_PID !== undefined) onLauncherGone(() => onSignal('launcher gone'));
  });
  try {
    const running = await configured.start(log);
    log.info({ origin: running.origin }, 'listening');
    log.info({ signal: await stop }, 'stopping');
    const late = setTimeout(() => {
      log.warn({ timeoutMs: SHUTDOWN_TIMEOUT_MS }, 'stopping took too long');
      process.exit(1);
    }, SHUTDOWN_TIMEOUT_MS + 2000);
    await running[Symbol.asyncDispose]();
    clearTimeout(late);
    log.info('stopped');
    process.exit(0);
  } catch (err) {
    log.fatal({ err }, 'failed to start or stop');
    process.exit(err instanceof ConfigError ? EXIT_CONFIG : 1);
  }
}

/**
 * A launcher that was killed can't tell its children. Each has a pipe from it on stdin, into which nothing is ever
 * written: its end is the launcher's. Rejected: looking at `process.ppid`, which wakes every service each second.
 */
function onLauncherGone(act: () => void): void {
  const { stdin } = process;
  stdin.on('error', act);
  stdin.once('close', act);
  stdin.resume();
}
