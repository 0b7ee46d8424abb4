/**
 * The options of a peer, and what follows from them: its identity, where its services answer, and the
 * environment that tells each of them. The same for services that are processes and for a peer in one.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
// Not chassis as a whole: the launcher lives as long as the peer, without a server or a queue.
import { announcedHost } from '@shoal/chassis/addresses';
import { openDataFolder } from '@shoal/chassis/data-folder';
import { openIdentity, putAsideIdentity } from '@shoal/chassis/identity';
import { dialable, hostPort, type PeerId, SERVICES, type Service } from '@shoal/protocol';
import type { PeerPorts } from './ports.ts';
import { isBuilt } from './programs.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** The options of a peer. */
export interface PeerPlan {
  /** Its name in messages: `peer 3`, or `this peer`. */
  readonly label: string;
  readonly dataDir: string;
  readonly keyFile: string;
  /** Address that the services listen on. */
  readonly host: string;
  /** Address that other peers reach it at, when it is not `host`. */
  readonly advertiseHost?: string | undefined;
  readonly ports: PeerPorts;
  /** Addresses to join at: `host:port` of other peers' libp2p. */
  readonly seeds: readonly string[];
  readonly hasMdns: boolean;
  /** Every client that reaches it may write, on a network too. */
  readonly isOpen?: boolean;
  /** The peer's key is put aside, and another one made. */
  readonly hasNewIdentity?: boolean;
  /** Its services share one process: less memory, and what ends one ends all. */
  readonly isOneProcess?: boolean;
  /** When all services are gone at once, the peer was killed on purpose: leave it down. */
  readonly staysDownWhenKilled: boolean;
  /** The line that brings it back then. */
  readonly revivedBy?: string;
}

export interface DescribedPeer {
  readonly peerId: PeerId;
  /** Where each service answers on this machine. */
  readonly origins: Readonly<Record<Service, string>>;
  /** `host:port` that other peers can give as a seed. */
  readonly libp2p: string;
  /** The settings of its services. */
  readonly env: Record<string, string | undefined>;
}

/**
 * Makes the peer's identity if it has none yet, and gives the settings of its services.
 * @throws ConfigError when its folder or its key is none that this program knows
 */
export function describePeer(
  plan: PeerPlan,
  { env, socket }: { readonly env: Environment; /** Of its Redis. */ readonly socket: string },
): DescribedPeer {
  openDataFolder(plan.dataDir);
  const keyFile = join(plan.dataDir, 'identity.key');
  if (plan.hasNewIdentity === true) putAsideIdentity(keyFile);
  const { peerId } = openIdentity(keyFile);
  const origins = originsOf(plan);
  return {
    peerId,
    origins,
    libp2p: hostPort(plan.advertiseHost ?? announcedHost(plan.host), plan.ports.libp2p),
    env: environmentOf(plan, env, { peerId, origins, socket }),
  };
}

function environmentOf(
  plan: PeerPlan,
  env: Environment,
  made: { peerId: PeerId; origins: Readonly<Record<Service, string>>; socket: string },
): Record<string, string | undefined> {
  const { host, advertiseHost, ports } = plan;
  const perService = SERVICES.flatMap((service) => {
    const name = service.toUpperCase();
    return [
      [`${name}_URL`, made.origins[service]],
      [`${name}_PORT`, String(ports[service])],
    ];
  });
  return {
    NODE_COMPILE_CACHE: compileCacheDir(env),
    // glibc's default, eight arenas a core, keeps some MiB more of each process for nothing.
    MALLOC_ARENA_MAX: '2',
    ...env,
    SWARM_KEY: undefined, // they read the file
    PEER_ID: made.peerId,
    PEER_DATA_DIR: plan.dataDir,
    SWARM_KEY_FILE: plan.keyFile,
    REDIS_SOCKET: made.socket,
    BIND_HOST: host,
    ...(plan.isOpen === true ? { WRITE_OPEN: 'true' } : {}),
    LAUNCHER_PID: String(process.pid),
    ...Object.fromEntries(perService),
    DISCOVERY_LIBP2P_PORT: String(ports.libp2p),
    DISCOVERY_SEEDS: plan.seeds.join(','),
    DISCOVERY_MDNS: String(plan.hasMdns),
    ...(advertiseHost === undefined ? {} : { DISCOVERY_ADVERTISE_HOST: advertiseHost }),
  };
}

/**
 * Compiled code of sources is kept between starts: 25 processes of one swarm read the same modules. Builds keep
 * theirs beside them.
 */
export function compileCacheDir(env: Environment): string | undefined {
  if (isBuilt) return undefined;
  const cache = env['XDG_CACHE_HOME'] ?? (env['HOME'] && join(env['HOME'], '.cache'));
  if (!cache) return undefined;
  const dir = join(cache, 'shoal', 'node');
  try {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
  } catch {
    return undefined; // a home that can't be written to: starting takes longer, that is all
  }
  return dir;
}

function originsOf({ host, ports }: PeerPlan): Readonly<Record<Service, string>> {
  const pairs = SERVICES.map((service) => [
    service,
    `http://${hostPort(dialable(host), ports[service])}`,
  ]);
  return Object.fromEntries(pairs) as Record<Service, string>; // every service is in SERVICES
}
