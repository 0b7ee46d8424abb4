import { discoveryRoutes } from '@shoal/protocol';
import { createClient } from '../client.ts';
import type { Command } from '../context.ts';
import { CommandFailure, EXIT_FAILURE } from '../failure.ts';
import { readHashes, readOptions } from '../options.ts';
import { readPeerUrl } from '../peer-url.ts';
import { watchStop } from '../watch-stop.ts';
import { readToken, TOKEN_USAGE } from '../write-token.ts';

export const USAGE = `shoal rm <hash…> [options]     delete files from the whole swarm, by CID or sha-256
  --peer URL         gateway to ask (default: SHOAL_PEER, or http://127.0.0.1:7100)
${TOKEN_USAGE}
  --json             print the peer's answers, one a line`;

/** Deletes files one after the other; one that fails does not stop the rest. */
export const rm: Command = async (args, context) => {
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
      const reply = await client.call(discoveryRoutes.removeFile, { params: { hash } }, stop);
      if (values.json) context.out(`${JSON.stringify(reply)}\n`);
      else if (context.isWatched) context.err(`${reply.name}: deleted\n`);
    } catch (error) {
      stop.signal.throwIfAborted();
      if (!(error instanceof CommandFailure)) throw error;
      context.err(`shoal: ${hash}: ${error.message}\n`);
      exitCode = EXIT_FAILURE;
    }
  }
  return exitCode;
};
