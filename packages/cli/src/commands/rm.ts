import { discoveryRoutes } from '@shoal/protocol';
import { createClient } from '../client.ts';
import type { Command } from '../context.ts';
import { CommandFailure, EXIT_FAILURE } from '../failure.ts';
import { formatTime } from '../format.ts';
import { readHashes, readOptions } from '../options.ts';
import { readPeerUrl } from '../peer-url.ts';
import { watchStop } from '../watch-stop.ts';
import { readToken, TOKEN_USAGE } from '../write-token.ts';

export const USAGE = `shoal rm <hash…> [options]     delete files from the whole swarm, by CID or sha-256
                     they can be brought back for some days ("shoal undelete"), unless their
                     room is needed; their bytes go then
  --now              purge them at once, also those that are deleted already: they can't be
                     brought back, and their bytes go with the next two sweeps
  --peer URL         gateway to ask (default: SHOAL_PEER, or http://127.0.0.1:7100)
${TOKEN_USAGE}
  --json             print the peer's answers, one a line`;

/** Deletes files one after the other; one that fails does not stop the rest. */
export const rm: Command = async (args, context) => {
  const { values, positionals } = readOptions(args, {
    now: { type: 'boolean', default: false },
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
      const query = values.now ? ({ now: 'true' } as const) : {};
      const ask = { params: { hash }, query };
      const reply = await client.call(discoveryRoutes.removeFile, ask, stop);
      if (values.json) context.out(`${JSON.stringify(reply)}\n`);
      else if (context.isWatched) context.err(`${reply.name}: ${outcomeOf(reply)}\n`);
    } catch (error) {
      stop.signal.throwIfAborted();
      if (!(error instanceof CommandFailure)) throw error;
      context.err(`shoal: ${hash}: ${error.message}\n`);
      exitCode = EXIT_FAILURE;
    }
  }
  return exitCode;
};

function outcomeOf({ cid, purgeAtMs }: { cid: string; purgeAtMs?: number | undefined }): string {
  if (purgeAtMs === undefined) return 'deleted for good';
  return `deleted; until ${formatTime(purgeAtMs)} it can be brought back: shoal undelete ${cid}`;
}
