import { GivenName } from '@shoal/protocol';
import { askingCommand } from '../../call/asking-command.ts';
import { TOKEN_USAGE } from '../../call/write-token.ts';
import { CommandFailure, UsageError } from '../../failure.ts';
import { shortPeerId } from '../../terminal/format.ts';
import {
  askRoster,
  changeRoster,
  exactly,
  findMember,
  RECOVERY_USAGE,
  signerOf,
} from '../../call/change-roster.ts';

/** Gives a member a name that people know it by. */
export const rename = askingCommand({
  usage: `shoal rename <member> <name>   give a member a name; the member by its id, or the name that it has
  --peer URL         gateway to ask (default: SHOAL_PEER, or http://127.0.0.1:7100)
${TOKEN_USAGE}
${RECOVERY_USAGE}
  --json             print what was done`,
  options: { recovery: { type: 'string' } },
  takesWords: true,
  async run({ values, words, client, stop, context, note }) {
    const roster = await askRoster(client, stop);
    const [word = '', text = ''] = exactly(words, ['the member', 'its new name']);
    const peerId = findMember(word, roster);
    const name = readName(text);
    const other = roster.members.find((each) => each.name === name && each.peerId !== peerId);
    if (other !== undefined)
      throw new CommandFailure(
        `${shortPeerId(other.peerId)} is called ${name} already; choose another name`,
      );
    const by = signerOf(values.recovery, roster, context);
    await changeRoster(client, roster, { changes: [{ kind: 'name', peerId, name }], by }, stop);
    note({ peerId, name }, `it is called ${name} now`);
    return 0;
  },
});

/** @throws UsageError */
export function readName(text: string): string {
  const name = GivenName.safeParse(text);
  if (name.success) return name.data;
  throw new UsageError('a name has 1 to 64 characters, and none that do not print');
}
