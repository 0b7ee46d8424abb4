import { PeerId } from '@shoal/protocol';
import { type Asking, askingCommand } from '../../call/asking-command.ts';
import { TOKEN_USAGE } from '../../call/write-token.ts';
import { UsageError } from '../../failure.ts';
import {
  askRoster,
  changeRoster,
  RECOVERY_USAGE,
  signedBy,
  signerOf,
} from '../../call/change-roster.ts';
import { ensureOwnerKey } from '../../rights/owner-key.ts';
import { shortPeerId } from '../../terminal/format.ts';
import { readName } from './rename.ts';

const OPTIONS = {
  name: { type: 'string' },
  'with-added': { type: 'boolean', default: false },
  recovery: { type: 'string' },
} as const;

/** Other owners: people that may add and remove members. */
export const owner = askingCommand({
  usage: `shoal owner key                print your own id as an owner; makes your key when there is none
shoal owner add <id> [--name N] let somebody else add and remove members too, or yourself with --recovery
shoal owner remove <id>        take that back from one that you added; the recovery key takes it from any
  --with-added       shut out the members too that it added
  --peer URL         gateway to ask (default: SHOAL_PEER, or http://127.0.0.1:7100)
${TOKEN_USAGE}
${RECOVERY_USAGE}
  --json             print what was done`,
  options: OPTIONS,
  takesWords: true,
  async run(asking) {
    const [verb, id, ...rest] = asking.words;
    if (verb === 'key' && id === undefined) return showKey(asking);
    if ((verb !== 'add' && verb !== 'remove') || rest.length > 0)
      throw new UsageError('say key, add <id>, or remove <id>');
    const key = PeerId.safeParse(id);
    if (!key.success)
      throw new UsageError('give the id of an owner, as shoal owner key prints it there');
    return await (verb === 'add' ? add(key.data, asking) : takeBack(key.data, asking));
  },
});

type AskingOwner = Asking<typeof OPTIONS>;

function showKey({ context, print }: AskingOwner): number {
  const { id, file } = ensureOwnerKey(context);
  print({ key: id, file }, `${id}\n`);
  return 0;
}

async function add(key: PeerId, { values, client, stop, context, note }: AskingOwner) {
  const roster = await askRoster(client, stop);
  const by = signerOf(values.recovery, roster, context);
  const name = readName(values.name ?? shortPeerId(key));
  await changeRoster(client, roster, { changes: [{ kind: 'add-owner', key, name }], by }, stop);
  note({ key, name }, `${name} may add and remove members now`);
  return 0;
}

async function takeBack(key: PeerId, { values, client, stop, context, note }: AskingOwner) {
  const roster = await askRoster(client, stop);
  const by = signerOf(values.recovery, roster, context);
  const signed = values['with-added'] ? [] : await signedBy(key, 'all', { client, stop });
  const stands = signed.map(({ id }) => id);
  await changeRoster(
    client,
    roster,
    { changes: [{ kind: 'remove-owner', key, stands }], by },
    stop,
  );
  note(
    { key },
    values['with-added']
      ? 'it is no owner any more, and the members that it added are out'
      : 'it is no owner any more; the members that it added stay',
  );
  return 0;
}
