import { hostname } from 'node:os';
import { join } from 'node:path';
import { readSwarmKey } from '@shoal/chassis/config';
import { readRosterFile } from '@shoal/chassis/roster';
import { bareHost } from '@shoal/protocol';
import { defineCommand } from '../../command.ts';
import type { Context } from '../../context.ts';
import { defaultDataDir } from '../../launch/data-dir.ts';
import { type Door, openDoor } from '../../call/door.ts';
import { UsageError } from '../../failure.ts';
import { type LaunchedPeer, launchPeer } from '../../launch/launch-peer.ts';
import { readNumber, readPath } from '../../options.ts';
import { BASE_PORT_DEFAULT, BASE_PORT_MAX, portsOf } from '../../launch/ports.ts';
import { type LogTarget, runLauncher } from '../../launch/run-launcher.ts';
import { claimSlot } from '../../launch/slots.ts';
import { PROGRAM } from '../../terminal/program-name.ts';
import { ensureSwarmKey, writeSwarmKey } from '../../launch/swarm-key.ts';

/** Runs one peer of a swarm: Redis and the five services, restarted when they crash. */
export const peer = defineCommand({
  usage: `shoal peer [options]           run one peer until Ctrl-C
  --data-dir D       where its data is (default: ~/.local/share/shoal)
  --slots            share D with other peers: each takes a folder D/slots/<n> for itself
  --base-port B      first of its six ports (default: ${BASE_PORT_DEFAULT})
  --host H           address to listen on (default: 127.0.0.1; 0.0.0.0 or :: for the network)
  --open             on a network, let everyone who reaches it write; else writes need a token
  --advertise H      address that other peers reach it at
  --seed HOST:PORT   libp2p address of a peer to join (may be given several times)
  --key-file F       swarm key (default: SWARM_KEY_FILE, else D/swarm.key, made when missing)
  --new-identity     become a new peer with the data in D, as a copy of another peer's must
  --one-process      run the services in one process: half the memory, and what ends one ends all
  --no-mdns          don't look for peers on the local network
  --json             print one line of JSON when it is ready
  --verbose          show what the services log
  --log-to stdout    write what the services log to stdout, as JSON lines
The swarm key may be given as SWARM_KEY too (64 hex digits): it is then kept in D/swarm.key.`,
  options: {
    'data-dir': { type: 'string' },
    slots: { type: 'boolean', default: false },
    'base-port': { type: 'string', default: String(BASE_PORT_DEFAULT) },
    host: { type: 'string', default: '127.0.0.1' },
    open: { type: 'boolean', default: false },
    advertise: { type: 'string' },
    seed: { type: 'string', multiple: true, default: [] },
    'key-file': { type: 'string' },
    'new-identity': { type: 'boolean', default: false },
    'one-process': { type: 'boolean', default: false },
    'no-mdns': { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    verbose: { type: 'boolean', default: false },
    'log-to': { type: 'string', default: 'files' },
  },
  async run({ values, context }) {
    for (const seed of values.seed)
      if (!/^(.+:\d{1,5}|\/.+)$/.test(seed))
        throw new UsageError(`--seed must be host:port, not "${seed}"`);
    const basePort = readNumber(values['base-port'], {
      name: '--base-port',
      min: 1,
      max: BASE_PORT_MAX,
    });
    const logTo = readLogTarget(values['log-to'], values.verbose);
    const root = readPath(values['data-dir'] ?? defaultDataDir(context), context);
    const { keyFile, isNew } = placeKey(root, values['key-file'], context);
    // Containers of one project share the key through their volume: there, a new one is the swarm's.
    if (isNew && values.seed.length > 0 && !values.slots)
      context.err(
        `shoal: ${keyFile} was made now, so this is a swarm of its own; to join the one at ${values.seed.join(', ')}, give its key with --key-file\n`,
      );
    const { swarmId } = readRosterFile(root).view;
    const door = openDoor(
      { host: values.host, keyFile, dataDir: root, isOpen: values.open },
      context,
    );
    return runLauncher(context, {
      logTo,
      launch: async (deps, options) => {
        await using starting = new AsyncDisposableStack();
        const slot = values.slots
          ? starting.use(await claimSlot(root, { holder: hostname(), ...options }))
          : undefined;
        const launched = starting.use(
          await launchPeer(
            {
              label: slot === undefined ? 'this peer' : `peer in slot ${slot.index}`,
              dataDir: slot?.dataDir ?? root,
              keyFile,
              host: bareHost(values.host),
              advertiseHost: values.advertise && bareHost(values.advertise),
              ports: portsOf(basePort),
              seeds: values.seed,
              hasMdns: !values['no-mdns'],
              isOpen: values.open,
              isOneProcess: values['one-process'],
              hasNewIdentity: values['new-identity'],
              staysDownWhenKilled: false,
            },
            deps,
            options,
          ),
        );
        const running = starting.move();
        return { ...launched, [Symbol.asyncDispose]: () => running.disposeAsync() };
      },
      onReady(launched) {
        context.out(
          values.json || logTo === 'stdout'
            ? `${JSON.stringify(asJson(launched))}\n`
            : describe(launched, {
                ...door,
                program: context.program,
                isClosed: swarmId !== undefined,
              }),
        );
      },
    });
  },
});

/** Where the services read the key: one that was given is never replaced, one of our own is made. */
function placeKey(
  root: string,
  option: string | undefined,
  context: Context,
): { keyFile: string; isNew: boolean } {
  const own = join(root, 'swarm.key');
  const { env } = context;
  const given = env['SWARM_KEY'];
  if (option !== undefined) {
    const file = readPath(option, context);
    return { keyFile: file, isNew: ensureSwarmKey(file) };
  }
  if (env['SWARM_KEY_FILE']) {
    const file = readPath(env['SWARM_KEY_FILE'], context);
    readSwarmKey(file); // a mounted secret: when it is missing, a new one is of no use
    return { keyFile: file, isNew: false };
  }
  if (!given) return { keyFile: own, isNew: ensureSwarmKey(own) };
  writeSwarmKey(own, given);
  return { keyFile: own, isNew: false };
}

function readLogTarget(text: string, isVerbose: boolean): LogTarget {
  if (text !== 'files' && text !== 'stdout')
    throw new UsageError(`--log-to must be files or stdout, not "${text}"`);
  return isVerbose ? 'terminal' : text;
}

function asJson({ peerId, origins, pids, libp2p, heldUpBy }: LaunchedPeer) {
  return { peerId, ...origins, pids: pids(), libp2p, heldUpBy };
}

function describe(
  { peerId, origins, libp2p, heldUpBy }: LaunchedPeer,
  {
    curlFlag,
    pageAt,
    isClosed,
    program = PROGRAM,
  }: Door & { isClosed: boolean; program: string | undefined },
): string {
  if (heldUpBy !== undefined)
    return `peer ${peerId} stands aside, as said above; it gives what it holds to those who ask it
  open    ${origins.gateway}
`;
  return `peer ${peerId} is ready
  open    ${pageAt(origins.gateway)}
  upload  curl ${curlFlag}-F file=@FILE ${origins.gateway}/files
  join    ${isClosed ? `${program} invite --peer ${origins.gateway}` : `${program} peer --seed ${libp2p} --key-file <a copy of its swarm.key>`}
`;
}
