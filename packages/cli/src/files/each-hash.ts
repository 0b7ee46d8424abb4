import type { Asking } from '../call/asking-command.ts';
import { CommandFailure, EXIT_FAILURE } from '../failure.ts';
import { type Options, readHashes } from '../options.ts';

/**
 * Does something with each of the files named, one after the other; a failure is reported and does not
 * stop the rest. Answers the exit code.
 */
export async function eachHash(
  { words, context, stop }: Pick<Asking<Options>, 'words' | 'context' | 'stop'>,
  work: (hash: string) => Promise<void>,
): Promise<number> {
  let exitCode = 0;
  for (const hash of readHashes(words)) {
    try {
      await work(hash);
    } catch (error) {
      stop.signal.throwIfAborted();
      if (!(error instanceof CommandFailure)) throw error;
      context.err(`shoal: ${hash}: ${error.message}\n`);
      exitCode = EXIT_FAILURE;
    }
  }
  return exitCode;
}
