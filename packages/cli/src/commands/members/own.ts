import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { openIdentity } from '@shoal/chassis/identity';
import { discoveryRoutes, rosterRoutes } from '@shoal/protocol';
import { askingCommand } from '../../call/asking-command.ts';
import { TOKEN_USAGE } from '../../call/write-token.ts';
import { CommandFailure } from '../../failure.ts';
import { defaultDataDir } from '../../launch/data-dir.ts';
import { readPath } from '../../options.ts';
import { beginRoster, describeRecovery } from '../../rights/begin-roster.ts';
import { ensureOwnerKey } from '../../rights/owner-key.ts';
import { formatTable, shortPeerId } from '../../terminal/format.ts';
import { asTyped, PROGRAM } from '../../terminal/program-name.ts';

/** Closes a swarm whose members all know a key. */
export const own = askingCommand({
  usage: `shoal own [options]            give a swarm that has none an owner, you, and close it: its members of now
                               stay in, and from then on its key alone lets nobody in
  --data-dir D       of the peer that is asked (default: ~/.local/share/shoal)
  --peer URL         its gateway (default: SHOAL_PEER, or http://127.0.0.1:7100)
${TOKEN_USAGE}
  --json             print what was done, the recovery key too`,
  options: { 'data-dir': { type: 'string' } },
  async run({ values, client, stop, context, print }) {
    const dataDir = readPath(values['data-dir'] ?? defaultDataDir(context), context);
    const { self, peers } = await client.call(discoveryRoutes.listPeers, {}, stop);
    const keyFile = join(dataDir, 'identity.key');
    if (!existsSync(keyFile) || openIdentity(keyFile).peerId !== self)
      throw new CommandFailure(
        `${dataDir} is not the folder of the peer at ${client.peerUrl}; give that one with --data-dir`,
      );
    const roster = await client.call(rosterRoutes.show, {}, stop);
    if (roster.swarm !== undefined)
      throw new CommandFailure('this swarm has an owner already: shoal members says who');
    const staying = peers.filter(({ state }) => state !== 'out');
    const owner = ensureOwnerKey(context);
    const begun = beginRoster(owner);
    const { genesis, recovery } = begun;
    const records = [genesis, ...staying.map(({ peerId }) => begun.addOf(peerId))];
    await client.call(rosterRoutes.change, { body: { records } }, stop);
    const table = formatTable(
      ['MEMBER', 'STATE', 'GATEWAY'],
      staying.map(({ peerId, state, http }) => [shortPeerId(peerId), state, http.gateway]),
    );
    const text = `the swarm is yours, and closed; its members:\n${table}${describeRecovery(recovery, owner.file)}`;
    const members = staying.map(({ peerId }) => peerId);
    print({ owner: owner.id, recovery, members }, asTyped(text, context.program ?? PROGRAM));
    return 0;
  },
});
