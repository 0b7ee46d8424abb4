/** Shared by `shoal peer` and `shoal swarm`: launch, report, wait for the end, stop in order. */
import type { Context } from '../context.ts';
import { EXIT_FAILURE } from '../failure.ts';
import type { LaunchDeps } from './launch-peer.ts';
import type { Supervised } from './child/supervise.ts';
import { StopRequested, watchStop, whenAborted } from '../terminal/watch-stop.ts';

/** Exit code after a second Ctrl-C: what a shell gives for SIGINT. */
const EXIT_INTERRUPTED = 130;

export type LogTarget = 'files' | 'terminal' | 'stdout';

/** Runs a launcher until a signal stops it; answers the exit code. */
export async function runLauncher<L extends AsyncDisposable>(
  context: Context,
  options: {
    /** Where the children's lines go: into their files, to the terminal, or as they are to stdout. */
    readonly logTo: LogTarget;
    readonly launch: (deps: LaunchDeps, options: { signal: AbortSignal }) => Promise<L>;
    readonly onReady: (launched: L) => void;
  },
): Promise<number> {
  context.outliveReaders?.();
  const started = new Set<Supervised>();
  const followsParent = context.env['npm_lifecycle_event'] !== undefined;
  using stop = watchStop(
    () => {
      for (const child of started) child.kill();
      process.exit(EXIT_INTERRUPTED);
    },
    { followsParent },
  );
  const say = (line: string): void => context.err(`${line}\n`);
  const echoes: Readonly<Record<LogTarget, LaunchDeps['echo']>> = {
    files: undefined,
    terminal: (source, line) => say(`${source} ${line}`),
    stdout: (_, line) => context.out(`${line}\n`), // JSON, with the service's name in it
  };
  const { env, program } = context;
  const deps: LaunchDeps = { env, program, started, say, echo: echoes[options.logTo] };
  try {
    await using launched = await options.launch(deps, { signal: stop.signal });
    options.onReady(launched);
    await whenAborted(stop.signal);
    if (context.isWatched) say('\nstopping (Ctrl-C again: at once)');
    return 0;
  } catch (error) {
    if (error instanceof StopRequested) return EXIT_FAILURE; // stopped before it was ready
    throw error;
  }
}
