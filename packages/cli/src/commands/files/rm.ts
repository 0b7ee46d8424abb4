import { discoveryRoutes } from '@shoal/protocol';
import { askingCommand } from '../../call/asking-command.ts';
import { eachHash } from '../../files/each-hash.ts';
import { formatTime } from '../../terminal/format.ts';
import { PROGRAM } from '../../terminal/program-name.ts';
import { TOKEN_USAGE } from '../../call/write-token.ts';

/** Deletes files. */
export const rm = askingCommand({
  usage: `shoal rm <hash…> [options]     delete files from the whole swarm, by CID or sha-256
                     they can be brought back for some days ("shoal undelete"), unless their
                     room is needed; their bytes go then
  --now              purge them at once, also those that are deleted already: they can't be
                     brought back, and their bytes go with the next two sweeps
  --peer URL         gateway to ask (default: SHOAL_PEER, or http://127.0.0.1:7100)
${TOKEN_USAGE}
  --json             print the peer's answers, one a line`,
  options: {
    now: { type: 'boolean', default: false },
  },
  takesWords: true,
  async run({ values, words, context, client, stop, note }) {
    return eachHash({ words, context, stop }, async (hash) => {
      const query = values.now ? ({ now: 'true' } as const) : {};
      const ask = { params: { hash }, query };
      const reply = await client.call(discoveryRoutes.removeFile, ask, stop);
      note(reply, `${reply.name}: ${outcomeOf(reply, context.program)}`);
    });
  },
});

function outcomeOf(
  {
    cid,
    purgeAtMs,
    keptBy = [],
  }: {
    cid: string;
    purgeAtMs?: number | undefined;
    keptBy?: readonly string[] | undefined;
  },
  program = PROGRAM,
): string {
  if (keptBy.length > 0)
    return `no longer kept for this peer; it stays for ${keptBy.join(', ')}, which put the same file`;
  if (purgeAtMs === undefined) return 'deleted for good';
  return `deleted; until ${formatTime(purgeAtMs)} it can be brought back: ${program} undelete ${cid}`;
}
