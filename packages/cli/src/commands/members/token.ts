import { readFileSync } from 'node:fs';
import { checkToken, createToken, Roster, type TokenRights } from '@shoal/chassis/roster';
import { rosterRoutes } from '@shoal/protocol';
import { askingCommand } from '../../call/asking-command.ts';
import { TOKEN_USAGE } from '../../call/write-token.ts';
import { type Command, defineCommand } from '../../command.ts';
import type { Context } from '../../context.ts';
import { CommandFailure, UsageError } from '../../failure.ts';
import { readPath } from '../../options.ts';
import {
  askRoster,
  changeRoster,
  type ClosedRoster,
  exactly,
  RECOVERY_USAGE,
  signerOf,
} from '../../call/change-roster.ts';
import { ownToken } from './own-token.ts';
import { readDraft, readIssuer, tokenId } from './scoped-token.ts';
import { formatBytes, formatFields, formatTime } from '../../terminal/format.ts';

const USAGE = `shoal token [options]          print the token of a peer of yours, which has all rights there
  --data-dir D       what the peer or the swarm was given as its own (default: ~/.local/share/shoal)
  --key-file F       the swarm key, where the swarm has no owner (default: SWARM_KEY_FILE, else SWARM_KEY, else
                     D/swarm.key)
With WRITE_TOKEN or WRITE_TOKEN_FILE it prints that one, as a peer started here takes that one.

shoal token create --name N --may R[,R]   make a token that all peers of a swarm with an owner take
  --name N           what you will know it by
  --may R            read, write, delete; admin may all that, and make more tokens
  --only CID         only this file, or this folder and what is in it
  --max-bytes SIZE   a drop box: so much of what was put with it is kept at once (500MB, 1GB)
  --for SPAN         how long it is good: 12h, 30d (default: until it is revoked)
  --with F           sign with the token in F, which may admin, instead of your own key
shoal token check <token>      say what a token may, as the peer that is asked sees it
shoal token revoke <token>     end a token, by itself or its id, and those made with it
  --peer URL         gateway to ask (default: SHOAL_PEER, or http://127.0.0.1:7100)
${TOKEN_USAGE}
${RECOVERY_USAGE}
  --json             print it as JSON
Use it: export SHOAL_TOKEN=$(shoal token)`;

const print = defineCommand({
  usage: USAGE,
  options: { 'key-file': { type: 'string' }, 'data-dir': { type: 'string' } },
  async run({ values, context }) {
    context.out(`${await ownToken(values, context)}\n`);
    return 0;
  },
});

const create = askingCommand({
  usage: USAGE,
  options: {
    name: { type: 'string' },
    may: { type: 'string' },
    only: { type: 'string' },
    'max-bytes': { type: 'string' },
    for: { type: 'string' },
    with: { type: 'string' },
    recovery: { type: 'string' },
  },
  async run({ values, client, stop, context, print: printReply }) {
    const draft = readDraft(values, Date.now());
    const roster = await askRoster(client, stop);
    const { swarm } = roster;
    const issuer =
      values.with === undefined
        ? { swarm, key: signerOf(values.recovery, roster, context) }
        : readIssuer(readTokenFile(values.with, context), swarm);
    const { id, text } = createToken(draft, issuer);
    if (context.isWatched)
      context.err(`shoal: its id is ${id}; its text is all that is needed to use it\n`);
    printReply({ id, token: text, ...draft }, `${text}\n`);
    return 0;
  },
});

/** Ids of owners and members look like those of tokens. @throws CommandFailure */
function refuseOthers(id: string, { owners, members }: ClosedRoster): void {
  if (owners.some(({ key }) => key === id))
    throw new CommandFailure('that is the id of an owner: shoal owner remove takes its rights');
  if (members.some(({ peerId }) => peerId === id))
    throw new CommandFailure('that is the id of a member: shoal remove shuts it out');
}

const revoke = askingCommand({
  usage: USAGE,
  options: { recovery: { type: 'string' } },
  takesWords: true,
  async run({ values, words, client, stop, context, note }) {
    const [word = ''] = exactly(words, ['the token or its id']);
    const token = tokenId(word);
    const roster = await askRoster(client, stop);
    const by = signerOf(values.recovery, roster, context);
    refuseOthers(token, roster);
    await changeRoster(client, roster, { changes: [{ kind: 'revoke', token }], by }, stop);
    note({ revoked: token }, `token ${token} opens nothing any more`);
    return 0;
  },
});

const check = askingCommand({
  usage: USAGE,
  options: {},
  takesWords: true,
  async run({ words, client, stop, print: printReply }) {
    const [text = ''] = exactly(words, ['the token']);
    const { records } = await client.call(rosterRoutes.records, {}, stop);
    const roster = new Roster();
    roster.take(records, { mayBegin: true });
    const { rights, reason } = checkToken(text, roster.view, Date.now());
    if (rights === undefined) throw new CommandFailure(`it opens nothing here: ${reason}`);
    const { may, ...rest } = rights;
    printReply({ ...rest, may: [...may] }, describe(rights));
    return 0;
  },
});

const ACTIONS = new Map<string, Command>([
  ['create', create],
  ['revoke', revoke],
  ['check', check],
]);

/** Tokens: the one with all rights of a peer, and those that owners make. */
export const token: Command = {
  usage: USAGE,
  run(args, context) {
    const [word = '', ...rest] = args;
    const action = ACTIONS.get(word);
    return action === undefined ? print.run(args, context) : action.run(rest, context);
  },
};

const describe = ({ id, name, may, only, maxBytes, expiresAtMs }: TokenRights): string =>
  formatFields([
    ['name', name],
    ['id', id],
    ['may', [...may].join(', ')],
    ['only', only ?? 'all files'],
    ['keeps', maxBytes === undefined ? 'any size' : `at most ${formatBytes(maxBytes)}`],
    ['until', expiresAtMs === undefined ? 'it is revoked' : formatTime(expiresAtMs)],
  ]);

function readTokenFile(path: string, context: Context): string {
  try {
    return readFileSync(readPath(path, context), 'utf8').trim();
  } catch (cause) {
    throw new UsageError(`--with: ${(cause as Error).message}`, { cause });
  }
}
