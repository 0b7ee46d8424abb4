import { join } from 'node:path';
import type { Command, Context } from '../context.ts';
import { type LaunchedPeer, launchPeer } from '../launch-peer.ts';
import { readNumber, readOptions, readPath, refusePositionals } from '../options.ts';
import { BASE_PORT_DEFAULT, BASE_PORT_MAX, portsOf } from '../ports.ts';
import { runLauncher } from '../run-launcher.ts';
import { ensureSwarmKey } from '../swarm-key.ts';
import { UsageError } from '../failure.ts';

export const USAGE = `shoal peer [options]           run one peer until Ctrl-C
  --data-dir D       where its data is (default: ~/.local/share/shoal)
  --base-port B      first of its six ports (default: ${BASE_PORT_DEFAULT})
  --host H           address to listen on (default: 127.0.0.1; 0.0.0.0 for the network)
  --advertise H      address that other peers reach it at
  --seed HOST:PORT   libp2p address of a peer to join (may be given several times)
  --key-file F       swarm key (default: D/swarm.key, made when missing)
  --no-mdns          don't look for peers on the local network
  --json             print one line of JSON when it is ready
  --verbose          show what the services log`;

/** Runs one peer of a swarm: Redis and the five services, restarted when they crash. */
export const peer: Command = async (args, context) => {
  const { values, positionals } = readOptions(args, {
    'data-dir': { type: 'string' },
    'base-port': { type: 'string', default: String(BASE_PORT_DEFAULT) },
    host: { type: 'string', default: '127.0.0.1' },
    advertise: { type: 'string' },
    seed: { type: 'string', multiple: true, default: [] },
    'key-file': { type: 'string' },
    'no-mdns': { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    verbose: { type: 'boolean', default: false },
  });
  refusePositionals(positionals);
  for (const seed of values.seed)
    if (!/^(.+:\d{1,5}|\/.+)$/.test(seed))
      throw new UsageError(`--seed must be host:port, not "${seed}"`);
  const basePort = readNumber(values['base-port'], {
    name: '--base-port',
    min: 1,
    max: BASE_PORT_MAX,
  });
  const dataDir = readPath(values['data-dir'] ?? defaultDataDir(context), context);
  const keyFile = readPath(values['key-file'] ?? join(dataDir, 'swarm.key'), context);
  ensureSwarmKey(keyFile);
  return runLauncher(context, {
    isVerbose: values.verbose,
    launch: (deps, options) =>
      launchPeer(
        {
          label: 'this peer',
          dataDir,
          keyFile,
          host: values.host,
          advertiseHost: values.advertise,
          ports: portsOf(basePort),
          seeds: values.seed,
          hasMdns: !values['no-mdns'],
          staysDownWhenKilled: false,
        },
        deps,
        options,
      ),
    onReady: (launched) =>
      context.out(values.json ? `${JSON.stringify(asJson(launched))}\n` : describe(launched)),
  });
};

function asJson({ peerId, origins, pids, libp2p }: LaunchedPeer) {
  return { peerId, ...origins, pids: pids(), libp2p };
}

function describe({ peerId, origins, libp2p }: LaunchedPeer): string {
  return `peer ${peerId} is ready
  open    ${origins.gateway}
  upload  curl -F file=@FILE ${origins.gateway}/files
  join    shoal peer --seed ${libp2p} --key-file <a copy of its swarm.key>
`;
}

function defaultDataDir({ env }: Context): string {
  const data = env['XDG_DATA_HOME'] ?? (env['HOME'] && join(env['HOME'], '.local', 'share'));
  if (!data) throw new UsageError('there is no home folder: give --data-dir');
  return join(data, 'shoal');
}
