import { discoveryRoutes, type FileEntry, fileNameFault, REPLICAS_MAX } from '@shoal/protocol';
import { askingCommand } from '../../call/asking-command.ts';
import { sayShortage, whyText } from '../../files/file-state.ts';
import { UsageError } from '../../failure.ts';
import { formatTime } from '../../terminal/format.ts';
import { readHash, readNumber } from '../../options.ts';
import { readExpiry } from '../../files/read-expiry.ts';
import { TOKEN_USAGE } from '../../call/write-token.ts';

/** Changes what is promised for a file; copies are made or dropped afterwards, by themselves. */
export const set = askingCommand({
  usage: `shoal set <hash> [options]     change a file for the whole swarm; what is not named stays
  --name NAME        its name
  --replicas N       copies to keep
  --expires WHEN     when it ends by itself: a date, a time from now such as 7d, or never
  --peer URL         gateway to ask (default: SHOAL_PEER, or http://127.0.0.1:7100)
${TOKEN_USAGE}
  --json             print the file as it is now`,
  options: {
    name: { type: 'string' },
    replicas: { type: 'string' },
    expires: { type: 'string' },
  },
  takesWords: true,
  async run({ values, words, context, client, stop, note }) {
    const hash = readHash(words);
    const body = {
      name: readName(values.name),
      replicas: readReplicas(values.replicas),
      expiresAt: readExpiry(values.expires, Date.now()),
    };
    if (Object.values(body).every((value) => value === undefined))
      throw new UsageError('what is to change? give --name, --replicas or --expires');
    const file = await client.call(discoveryRoutes.changeFile, { params: { hash }, body }, stop);
    note(file, describe(file));
    if (body.replicas !== undefined && !values.json) sayShortage(file, context);
    return 0;
  },
});

function readName(name: string | undefined): string | undefined {
  const fault = name === undefined ? undefined : fileNameFault(name);
  if (fault !== undefined) throw new UsageError(`--name was refused: ${fault}`);
  return name;
}

function readReplicas(text: string | undefined): number | undefined {
  return text === undefined
    ? undefined
    : readNumber(text, { name: '--replicas', min: 1, max: REPLICAS_MAX });
}

function describe(file: FileEntry): string {
  const { name, copies, replicas, state, expiresAtMs } = file;
  const end = expiresAtMs === undefined ? '' : `, until ${formatTime(expiresAtMs)}`;
  const why = whyText(file, Date.now());
  return `${name}: ${copies} of ${replicas} copies (${state})${end}${why === '' ? '' : `: ${why}`}`;
}
