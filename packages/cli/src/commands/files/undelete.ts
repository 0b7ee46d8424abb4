import { discoveryRoutes } from '@shoal/protocol';
import { askingCommand } from '../../call/asking-command.ts';
import { eachHash } from '../../files/each-hash.ts';
import { standingText, whyText } from '../../files/file-state.ts';
import { TOKEN_USAGE } from '../../call/write-token.ts';

/** Brings files back. */
export const undelete = askingCommand({
  usage: `shoal undelete <hash…> [options]     bring deleted files back, by CID or sha-256
                     "shoal ls --deleted" lists those that can be
  --peer URL         gateway to ask (default: SHOAL_PEER, or http://127.0.0.1:7100)
${TOKEN_USAGE}
  --json             print the files as they are now, one a line`,
  options: {},
  takesWords: true,
  async run({ words, context, client, stop, note }) {
    return eachHash({ words, context, stop }, async (hash) => {
      const file = await client.call(discoveryRoutes.undeleteFile, { params: { hash } }, stop);
      const why = whyText(file, Date.now());
      const standing = `${standingText(file)}${why === '' ? '' : `: ${why}`}`;
      note(file, `${file.name}: brought back (${standing})`);
    });
  },
});
