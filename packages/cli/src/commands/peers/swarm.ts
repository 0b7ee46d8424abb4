import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { bareHost } from '@shoal/protocol';
import { defineCommand } from '../../command.ts';
import type { Context } from '../../context.ts';
import { type Door, openDoor } from '../../call/door.ts';
import type { LaunchedPeer } from '../../launch/launch-peer.ts';
import { type LaunchedSwarm, launchSwarm } from '../../launch/launch-swarm.ts';
import { ownRoster } from '../../rights/own-roster.ts';
import { readNumber, readPath } from '../../options.ts';
import { BASE_PORT_DEFAULT, BASE_PORT_MAX, PORTS_PER_PEER } from '../../launch/ports.ts';
import { runLauncher } from '../../launch/run-launcher.ts';
import { ensureSwarmKey } from '../../launch/swarm-key.ts';
import { CommandFailure, EXIT_FAILURE, UsageError } from '../../failure.ts';
import { askForRevival } from '../../launch/revival.ts';
import { watchStop } from '../../terminal/watch-stop.ts';

/** Six processes a peer: more of them belong on more machines. Past it: refused. */
const PEERS_MAX = 100;

/** Runs N peers as real processes under this one. */
export const swarm = defineCommand({
  usage: `shoal swarm [options]          run a whole swarm on this machine until Ctrl-C
  --peers N          how many peers (default: 5)
  --base-port B      first port; peer i begins at B + ${PORTS_PER_PEER}·(i−1) (default: ${BASE_PORT_DEFAULT})
  --data-dir D       where their data is (default: .shoal)
  --host H           address to listen on (default: 127.0.0.1)
  --open             on a network, let everyone who reaches it write; else writes need a token
  --one-process      run each peer's services in one process: half the memory
  --revive I         bring peer I of the swarm that runs in D back, after it was killed
  --json             print one line of JSON once all peers see each other
  --verbose          show what the services log`,
  options: {
    peers: { type: 'string', default: '5' },
    'base-port': { type: 'string', default: String(BASE_PORT_DEFAULT) },
    'data-dir': { type: 'string', default: '.shoal' },
    host: { type: 'string', default: '127.0.0.1' },
    open: { type: 'boolean', default: false },
    'one-process': { type: 'boolean', default: false },
    revive: { type: 'string' },
    json: { type: 'boolean', default: false },
    verbose: { type: 'boolean', default: false },
  },
  async run({ values, context }) {
    const peers = readNumber(values.peers, { name: '--peers', min: 1, max: PEERS_MAX });
    const basePort = readNumber(values['base-port'], {
      name: '--base-port',
      min: 1,
      max: BASE_PORT_MAX,
    });
    if (basePort + (peers - 1) * PORTS_PER_PEER > BASE_PORT_MAX)
      throw new UsageError(`--base-port ${basePort} leaves no room for ${peers} peers`);
    const dataDir = readPath(values['data-dir'], context);
    if (values.revive !== undefined) return revive(values.revive, dataDir, context);
    const keyFile = join(dataDir, 'swarm.key');
    ensureSwarmKey(keyFile);
    ownRoster(
      Array.from({ length: peers }, (_, index) => join(dataDir, `peer-${index + 1}`)),
      context,
    );
    const door = openDoor({ host: values.host, keyFile, dataDir, isOpen: values.open }, context);
    return runLauncher(context, {
      logTo: values.verbose ? 'terminal' : 'files',
      launch: (deps, options) =>
        launchSwarm(
          {
            peers,
            basePort,
            host: bareHost(values.host),
            dataDir,
            keyFile,
            isOpen: values.open,
            isOneProcess: values['one-process'],
          },
          deps,
          options,
        ),
      onReady: (launched) =>
        context.out(
          values.json ? `${JSON.stringify(asJson(launched))}\n` : describe(launched, door),
        ),
    });
  },
});

/** Has the launcher in the other terminal do it: peers and their logs stay where they are. */
async function revive(index: string, dataDir: string, context: Context): Promise<number> {
  const number = readNumber(index, { name: '--revive', min: 1, max: PEERS_MAX });
  const folder = join(dataDir, `peer-${number}`);
  if (!existsSync(folder)) throw new CommandFailure(`${folder}: there is no such peer`);
  using stop = watchStop(() => process.exit(EXIT_FAILURE));
  await askForRevival(folder, stop);
  context.out(`peer ${number} is back\n`);
  return 0;
}

function asJson({ peers, missing }: LaunchedSwarm) {
  return {
    peers: [...peers, ...missing].map(({ peerId, origins, pids }) => ({
      peerId,
      ...origins,
      pids: pids(),
    })),
  };
}

function describe({ peers, missing }: LaunchedSwarm, { curlFlag, pageAt }: Door): string {
  const [first] = peers;
  if (first === undefined) return '';
  const second = peers[1] ?? first;
  const third = peers[2];
  const lines = [
    peers.length === 1
      ? 'a swarm of one peer is ready'
      : `a swarm of ${peers.length} peers is ready`,
    ...peers.map(({ label, origins }) => `  ${label}  ${pageAt(origins.gateway)}`),
    ...missing.map(({ label, origins }) => `  ${label}  ${origins.gateway}  (not ready)`),
    '',
    'try it:',
    `  curl ${curlFlag}-F file=@README.md ${first.origins.gateway}/files      # upload to peer 1: answers the file's cid`,
    `  curl -O -J ${second.origins.gateway}/files/<cid>            # download from ${second.label}`,
  ];
  if (third !== undefined)
    lines.push(
      `  kill -9 ${pidsOf(third)} && curl -O -J ${second.origins.gateway}/files/<cid>  # lose ${third.label}, download again`,
      `  ${third.revivedBy ?? ''}  # bring ${third.label} back`,
    );
  return `${[...lines, '', `console: ${pageAt(first.origins.gateway)}    stop: Ctrl-C`].join('\n')}\n`;
}

function pidsOf({ pids }: LaunchedPeer): string {
  return Object.values(pids())
    .filter((id) => id !== undefined)
    .join(' ');
}
