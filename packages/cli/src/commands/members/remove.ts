import type { RosterChange } from '@shoal/chassis/roster';
import { askingCommand } from '../../call/asking-command.ts';
import { TOKEN_USAGE } from '../../call/write-token.ts';
import {
  askRoster,
  changeRoster,
  exactly,
  findMember,
  RECOVERY_USAGE,
  signedBy,
  signerOf,
} from '../../call/change-roster.ts';
import { UsageError } from '../../failure.ts';
import { dateMs } from '../../files/read-expiry.ts';
import { shortPeerId } from '../../terminal/format.ts';

/** Its clock may be so much ahead of this one: its last honest uploads stand. Past it: they count for nothing. */
const CLOCKS_DIFFER_MS = 5 * 60_000;

/** Shuts a member out, for good. */
export const remove = askingCommand({
  usage: `shoal remove <member> [options] shut a member out for good, such as one that was stolen; its name, or its id
                               (one that is to go in peace hands over first: shoal drain)
  --reason TEXT      a reason, for others to read
  --with-invited     shut out the machines too that joined by an invitation at it
  --since DATE       when it came into wrong hands: files that it took in later are no longer kept for that
  --drop-pins        no files that it took in are
  --peer URL         gateway of another peer (default: SHOAL_PEER, or http://127.0.0.1:7100)
${TOKEN_USAGE}
${RECOVERY_USAGE}
  --json             print what was done`,
  options: {
    reason: { type: 'string' },
    since: { type: 'string' },
    'with-invited': { type: 'boolean', default: false },
    'drop-pins': { type: 'boolean', default: false },
    recovery: { type: 'string' },
  },
  takesWords: true,
  async run({ values, words, client, stop, context, print }) {
    const roster = await askRoster(client, stop);
    const [word = ''] = exactly(words, ['the member to shut out']);
    const peerId = findMember(word, roster);
    const since = readSince(values.since);
    const by = signerOf(values.recovery, roster, context);
    const letIn = await signedBy(peerId, ['join', 'invite'], { client, stop });
    const invited = letIn.flatMap(({ record }) => (record.kind === 'join' ? [record.peerId] : []));
    const change: RosterChange = {
      kind: 'remove',
      peerId,
      ...(values.reason === undefined ? {} : { reason: values.reason }),
      pinsUntil: since ?? Date.now() + CLOCKS_DIFFER_MS,
      dropsPins: values['drop-pins'],
      stands: values['with-invited'] ? [] : letIn.map(({ id }) => id),
    };
    await changeRoster(client, roster, { changes: [change], by }, stop);
    const others = invited.map(shortPeerId).join(', ');
    const also = values['with-invited']
      ? 'are out with it'
      : 'stay; if it was in wrong hands, remove them too';
    const note = invited.length === 0 ? '' : `those that joined at it ${also}: ${others}\n`;
    print(
      { removed: peerId, invited },
      `${shortPeerId(peerId)} is shut out; what it held is made again on the others\n${note}`,
    );
    return 0;
  },
});

/** @throws UsageError for anything but a date that is over */
function readSince(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const atMs = dateMs(text);
  if (atMs === undefined || atMs > Date.now())
    throw new UsageError(
      `--since takes a date that is over (2027-03-01, 2027-03-01T12:00), not "${text}"`,
    );
  return atMs;
}
