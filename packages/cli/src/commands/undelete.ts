import { discoveryRoutes } from '@shoal/protocol';
import { createClient } from '../client.ts';
import type { Command } from '../context.ts';
import { CommandFailure, EXIT_FAILURE } from '../failure.ts';
import { standingText, whyText } from '../file-state.ts';
import { readHashes, readOptions } from '../options.ts';
import { readPeerUrl } from '../peer-url.ts';
import { watchStop } from '../watch-stop.ts';
import { readToken, TOKEN_USAGE } from '../write-token.ts';

export const USAGE = `shoal undelete <hash…> [options]     bring deleted files back, by CID or sha-256
                     "shoal ls --deleted" lists those that can be
  --peer URL         gateway to ask (default: SHOAL_PEER, or http://127.0.0.1:7100)
${TOKEN_USAGE}
  --json             print the files as they are now, one a line`;

/** Brings files back one after the other; one that fails does not stop the rest. */
export const undelete: Command = async (args, context) => {
  const { values, positionals } = readOptions(args, {
    peer: { type: 'string' },
    'token-file': { type: 'string' },
    json: { type: 'boolean', default: false },
  });
  const hashes = readHashes(positionals);
  await using client = createClient(
    readPeerUrl(values.peer, context),
    readToken(values['token-file'], context),
  );
  using stop = watchStop(() => process.exit(EXIT_FAILURE));
  let exitCode = 0;
  for (const hash of hashes) {
    try {
      const file = await client.call(discoveryRoutes.undeleteFile, { params: { hash } }, stop);
      const why = whyText(file, Date.now());
      const standing = `${standingText(file)}${why === '' ? '' : `: ${why}`}`;
      if (values.json) context.out(`${JSON.stringify(file)}\n`);
      else if (context.isWatched) context.err(`${file.name}: brought back (${standing})\n`);
    } catch (error) {
      stop.signal.throwIfAborted();
      if (!(error instanceof CommandFailure)) throw error;
      context.err(`shoal: ${hash}: ${error.message}\n`);
      exitCode = EXIT_FAILURE;
    }
  }
  return exitCode;
};
