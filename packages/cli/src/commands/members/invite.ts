import {
  createInviteSecret,
  InviteCodeWrong,
  keyPairOfInvite,
  readInviteCode,
  type RosterChange,
  writeInviteCode,
} from '@shoal/chassis/roster';
import {
  discoveryRoutes,
  INVITE_LIFE_MAX_MS,
  INVITE_USES_MAX,
  type MayChange,
  rosterRoutes,
} from '@shoal/protocol';
import { renderUnicodeCompact } from 'uqr';
import { type Asking, askingCommand } from '../../call/asking-command.ts';
import { TOKEN_USAGE } from '../../call/write-token.ts';
import { CommandFailure, UsageError } from '../../failure.ts';
import { spanMs } from '../../files/read-expiry.ts';
import { readNumber } from '../../options.ts';
import {
  askRoster,
  changeRoster,
  type ClosedRoster,
  RECOVERY_USAGE,
  signerOf,
} from '../../call/change-roster.ts';
import { findOwnerKey } from '../../rights/owner-key.ts';
import { formatAge } from '../../terminal/format.ts';
import { asTyped, PROGRAM } from '../../terminal/program-name.ts';

const OPTIONS = {
  for: { type: 'string', default: '1h' },
  uses: { type: 'string', default: '1' },
  'may-change': { type: 'string', default: 'own' },
  close: { type: 'string' },
  recovery: { type: 'string' },
} as const;

/** Makes a line with which another machine joins. */
export const invite = askingCommand({
  usage: `shoal invite [options]         print a line with which another machine joins: shoal join <line>
  --for SPAN         how long it is good: 10min, 1h, 7d (default: 1h)
  --uses N           how many machines may join with it (default: 1)
  --may-change own   files that these may change or delete: their own, or "any" (default: own)
  --close LINE       withdraw an invitation instead: its line, or the end of its id
  --peer URL         gateway of the peer that they join at (default: SHOAL_PEER, or http://127.0.0.1:7100)
${TOKEN_USAGE}
${RECOVERY_USAGE}
  --json             print it as JSON`,
  options: OPTIONS,
  async run(asking) {
    const { values, client, stop, print, context } = asking;
    const roster = await askRoster(client, stop);
    if (values.close !== undefined) return await close(values.close, roster, asking);
    const forMs = spanMs(values.for);
    if (forMs === undefined || forMs <= 0 || forMs > INVITE_LIFE_MAX_MS)
      throw new UsageError(`--for takes a time up to 31d (10min, 1h, 7d), not "${values.for}"`);
    const uses = readNumber(values.uses, { name: '--uses', min: 1, max: INVITE_USES_MAX });
    const terms = { forMs, uses, mayChange: readMayChange(values['may-change']) };
    const made = isOwner(roster, asking)
      ? await signInvite(roster, terms, asking)
      : await askForInvite(roster, terms, asking);
    print(made, `${made.code}\n`);
    const many = uses === 1 ? 'one machine' : `${uses} machines`;
    if (context.isWatched) {
      context.err(`\n${renderUnicodeCompact(made.code)}\n`);
      const text = `good for ${many} and ${formatAge(forMs)}; there: shoal join <the line above>`;
      context.err(`${asTyped(text, context.program ?? PROGRAM)}\n`);
    }
    if (made.addresses.every((each) => /\/\/(?:127\.|localhost|\[::1\])/.test(each)))
      context.err(
        'shoal: this peer listens on this machine alone, so no other one can join at it: start it with --host 0.0.0.0\n',
      );
    return 0;
  },
});

type AskingInvite = Asking<typeof OPTIONS>;
interface Terms {
  readonly forMs: number;
  readonly uses: number;
  readonly mayChange: MayChange;
}

function readMayChange(text: string): MayChange {
  if (text === 'own' || text === 'any') return text;
  throw new UsageError(`--may-change is own or any, not "${text}"`);
}

const isOwner = ({ owners }: ClosedRoster, { values, context }: AskingInvite): boolean => {
  if (values.recovery !== undefined) return true;
  const key = findOwnerKey(context);
  return key !== undefined && owners.some((owner) => owner.key === key.id);
};

/** By the person's own key. */
async function signInvite(roster: ClosedRoster, terms: Terms, asking: AskingInvite) {
  const { client, stop, values, context } = asking;
  const { self, peers } = await client.call(discoveryRoutes.listPeers, {}, stop);
  const own = peers.find(({ peerId }) => peerId === self);
  if (own === undefined) throw new CommandFailure('the peer does not say where it is reached');
  const secret = createInviteSecret();
  const { id: key } = keyPairOfInvite(secret);
  const expiresAtMs = Date.now() + terms.forMs;
  const { uses, mayChange } = terms;
  const change: RosterChange = { kind: 'invite', key, inviter: self, uses, expiresAtMs, mayChange };
  const by = signerOf(values.recovery, roster, context);
  await changeRoster(client, roster, { changes: [change], by }, stop);
  const addresses = [own.http.discovery];
  const places = addresses.map((origin) => new URL(origin).host);
  const code = writeInviteCode({ inviter: self, secret, expiresAtMs, addresses: places });
  return { code, key, expiresAtMs, uses, addresses };
}

/** By the peer, where an owner let it. */
async function askForInvite(
  roster: ClosedRoster,
  { forMs, uses, mayChange }: Terms,
  asking: AskingInvite,
) {
  if (!roster.mayInvite) signerOf(undefined, roster, asking.context); // says what is missing
  if (mayChange === 'any')
    throw new UsageError(
      '--may-change any needs the key of an owner; a peer invites for their own files',
    );
  return await asking.client.call(rosterRoutes.invite, { body: { forMs, uses } }, asking.stop);
}

async function close(word: string, roster: ClosedRoster, asking: AskingInvite): Promise<number> {
  const { client, stop, values, context, note } = asking;
  const { invites } = roster;
  const id = idOf(word);
  const found = invites.find(({ key }) => id.length >= 6 && key.endsWith(id));
  if (found === undefined)
    throw new CommandFailure(`there is no invitation "${word}"; shoal members lists them`);
  const by = signerOf(values.recovery, roster, context);
  const changes = [{ kind: 'close-invite', key: found.key } as const];
  await changeRoster(client, roster, { changes, by }, stop);
  note({ closed: found.key }, `the invitation is withdrawn`);
  return 0;
}

/** The id of an invitation, or its end, from what a person has: the line itself too. @throws UsageError */
function idOf(word: string): string {
  if (!word.startsWith('sh1_')) return word.replace('…', '');
  try {
    return keyPairOfInvite(readInviteCode(word).secret).id;
  } catch (error) {
    if (error instanceof InviteCodeWrong) throw new UsageError(`--close: ${error.message}`);
    throw error;
  }
}
