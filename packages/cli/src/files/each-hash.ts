import { createClient } from '../call/client.ts';
import type { Context } from '../context.ts';
import { CommandFailure, EXIT_FAILURE } from '../failure.ts';
import { readHashes } from '../options.ts';
import { readPeerUrl } from '../call/peer-url.ts';
import { watchStop } from '../terminal/watch-stop.ts';
import { readToken } from '../call/write-token.ts';

type Client = ReturnType<typeof createClient>;

/**
 * Does something with each of the files named, one after the other; one that fails is said and does not
 * stop the rest. Answers the exit code.
 */
export async function eachHash(
  positionals: string[],
  values: { readonly peer?: string; readonly 'token-file'?: string },
  context: Context,
  work: (hash: string, client: Client, stop: { readonly signal: AbortSignal }) => Promise<void>,
): Promise<number> {
  const hashes = readHashes(positionals);
  await using client = createClient(
    readPeerUrl(values.peer, context),
    readToken(values['token-file'], context),
  );
  using stop = watchStop(() => process.exit(EXIT_FAILURE));
  let exitCode = 0;
  for (const hash of hashes) {
    try {
      await work(hash, client, stop);
    } catch (error) {
      stop.signal.throwIfAborted();
      if (!(error instanceof CommandFailure)) throw error;
      context.err(`shoal: ${hash}: ${error.message}\n`);
      exitCode = EXIT_FAILURE;
    }
  }
  return exitCode;
}
