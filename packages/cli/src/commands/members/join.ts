import { existsSync } from 'node:fs';
import { hostname } from 'node:os';
import { join as joinPath } from 'node:path';
import { askToJoin, InviterAway, OtherSwarm } from '@shoal/chassis/ask-to-join';
import { openDataFolder } from '@shoal/chassis/data-folder';
import { openIdentity } from '@shoal/chassis/identity';
import {
  type InviteCode,
  InviteCodeWrong,
  readInviteCode,
  readRosterFile,
  Roster,
  saveRoster,
} from '@shoal/chassis/roster';
import { type JoinReply, type PeerId, Problem } from '@shoal/protocol';
import { defineCommand } from '../../command.ts';
import { CommandFailure, EXIT_FAILURE, UsageError } from '../../failure.ts';
import { defaultDataDir } from '../../launch/data-dir.ts';
import { writeSwarmKey } from '../../launch/swarm-key.ts';
import { readPath } from '../../options.ts';
import { exactly } from '../../call/change-roster.ts';
import { asTyped, PROGRAM } from '../../terminal/program-name.ts';
import { shellWord } from '../../terminal/shell-word.ts';
import { watchStop } from '../../terminal/watch-stop.ts';
import { peer } from '../peers/peer.ts';
import { readName } from './rename.ts';

/** Options that are those of the peer that then runs. */
const OF_PEER = ['base-port', 'host', 'advertise'] as const;
const FLAGS_OF_PEER = ['open', 'one-process', 'no-mdns', 'json', 'verbose'] as const;

/** Joins a swarm by an invitation, and runs the peer. */
export const join = defineCommand({
  usage: `shoal join <line> [options]    join the swarm of an invitation (shoal invite), and run a peer of it until Ctrl-C;
                               later it is run by shoal peer --data-dir D
  --data-dir D       where its data goes (default: ~/.local/share/shoal)
  --name NAME        what people call it (default: the name of this machine)
  --no-start         join only
  --base-port B, --host H, --advertise H, --open, --one-process, --no-mdns, --json, --verbose
                     as of shoal peer`,
  options: {
    'data-dir': { type: 'string' },
    name: { type: 'string' },
    'no-start': { type: 'boolean', default: false },
    'base-port': { type: 'string' },
    host: { type: 'string' },
    advertise: { type: 'string' },
    open: { type: 'boolean', default: false },
    'one-process': { type: 'boolean', default: false },
    'no-mdns': { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    verbose: { type: 'boolean', default: false },
  },
  takesWords: true,
  async run({ values, words, context }) {
    const [line = ''] = exactly(words, ['the line that shoal invite printed']);
    const code = readLine(line);
    const name = readName(values.name ?? hostname().slice(0, 64));
    const dataDir = readPath(values['data-dir'] ?? defaultDataDir(context), context);
    const { seeds } = await enter(code, { dataDir, name });
    const settings = OF_PEER.flatMap((each) => {
      const value = values[each];
      return value === undefined ? [] : [`--${each}`, value];
    });
    const flags = FLAGS_OF_PEER.filter((each) => values[each]).map((each) => `--${each}`);
    const command = ['peer', '--data-dir', shellWord(dataDir), ...settings, ...flags].join(' ');
    if (values['no-start']) {
      const seedWords = seeds.map((seed) => ` --seed ${seed}`).join('');
      const text = `joined; run it: shoal ${command}${seedWords}\n`;
      context.out(asTyped(text, context.program ?? PROGRAM));
      return 0;
    }
    if (context.isWatched)
      context.err(asTyped(`joined; from now on: shoal ${command}\n`, context.program ?? PROGRAM));
    const args = ['--data-dir', dataDir, ...settings, ...flags];
    return await peer.run([...args, ...seeds.flatMap((seed) => ['--seed', seed])], context);
  },
});

/** @throws UsageError that says what is wrong with it */
function readLine(line: string): InviteCode {
  try {
    return readInviteCode(line);
  } catch (error) {
    if (error instanceof InviteCodeWrong) throw new UsageError(`the invitation: ${error.message}`);
    throw error;
  }
}

/** Becomes a member, and keeps what a peer needs to start. @throws CommandFailure */
async function enter(
  code: InviteCode,
  { dataDir, name }: { readonly dataDir: string; readonly name: string },
): Promise<JoinReply> {
  openDataFolder(dataDir);
  const known = readRosterFile(dataDir);
  const { swarmId: swarm } = known.view;
  if (swarm === undefined && existsSync(joinPath(dataDir, 'swarm.key')))
    throw new CommandFailure(
      `${dataDir} belongs to a swarm already; join with a folder of its own (--data-dir)`,
    );
  const identity = openIdentity(joinPath(dataDir, 'identity.key'));
  if (known.hasMember(identity.peerId) === true)
    throw new CommandFailure(
      `the peer in ${dataDir} belongs to a swarm already; run it: shoal peer --data-dir ${shellWord(dataDir)}`,
    );
  using stop = watchStop(() => process.exit(EXIT_FAILURE));
  const reply = await askToJoin({ code, identity, name, swarm, signal: stop.signal }).catch(
    (error: unknown) => {
      throw explained(error, { code, dataDir });
    },
  );
  keep(reply, { dataDir, peerId: identity.peerId });
  return reply;
}

function explained(
  error: unknown,
  { code: { expiresAtMs, addresses }, dataDir }: { code: InviteCode; dataDir: string },
): unknown {
  if (error instanceof OtherSwarm)
    return new CommandFailure(
      `${dataDir} belongs to another swarm; join with a folder of its own (--data-dir)`,
    );
  if (error instanceof Problem) return new CommandFailure(error.message, { cause: error });
  if (!(error instanceof InviterAway)) return error;
  const late =
    expiresAtMs < Date.now() ? '; by this machine’s clock the invitation has expired too' : '';
  return new CommandFailure(
    `the peer that invited is not reached at ${addresses.join(' or ')} (${error.message})${late}: is it running, and does a firewall let this machine to it?`,
    { cause: error },
  );
}

/** @throws CommandFailure when the answer makes no member of it */
function keep(
  { records, swarmKey }: JoinReply,
  { dataDir, peerId }: { readonly dataDir: string; readonly peerId: PeerId },
): void {
  const roster = new Roster();
  roster.take(records, { mayBegin: true });
  if (roster.hasMember(peerId) !== true)
    throw new CommandFailure('the peer that invited answered a roster without this machine');
  writeSwarmKey(joinPath(dataDir, 'swarm.key'), swarmKey);
  saveRoster(dataDir, roster);
}
