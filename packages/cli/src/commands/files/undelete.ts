import { discoveryRoutes } from '@shoal/protocol';
import type { Command } from '../../context.ts';
import { eachHash } from '../../files/each-hash.ts';
import { standingText, whyText } from '../../files/file-state.ts';
import { readOptions } from '../../options.ts';
import { TOKEN_USAGE } from '../../call/write-token.ts';

export const USAGE = `shoal undelete <hash…> [options]     bring deleted files back, by CID or sha-256
                     "shoal ls --deleted" lists those that can be
  --peer URL         gateway to ask (default: SHOAL_PEER, or http://127.0.0.1:7100)
${TOKEN_USAGE}
  --json             print the files as they are now, one a line`;

/** Brings files back. */
export const undelete: Command = async (args, context) => {
  const { values, positionals } = readOptions(args, {
    peer: { type: 'string' },
    'token-file': { type: 'string' },
    json: { type: 'boolean', default: false },
  });
  return eachHash(positionals, values, context, async (hash, client, stop) => {
    const file = await client.call(discoveryRoutes.undeleteFile, { params: { hash } }, stop);
    const why = whyText(file, Date.now());
    const standing = `${standingText(file)}${why === '' ? '' : `: ${why}`}`;
    if (values.json) context.out(`${JSON.stringify(file)}\n`);
    else if (context.isWatched) context.err(`${file.name}: brought back (${standing})\n`);
  });
};
