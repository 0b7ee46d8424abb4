/**
 * Known addresses to join through: `host:port`, `[v6]:port` or multiaddrs. A DNS name may stand for
 * many peers (a headless service, a Compose service with replicas), so it is resolved again at every
 * round, to all its addresses, and our own are left out.
 */
import { lookup } from 'node:dns/promises';
import { isIP, isIPv6 } from 'node:net';
import { networkInterfaces } from 'node:os';
import { multiaddr } from '@multiformats/multiaddr';
import { isAnyAddress, PORT_MAX } from '@shoal/protocol';

/** Seeds that one peer may be given. */
const SEEDS_MAX = 64;
/** Addresses of one name that are tried. */
const ADDRESSES_PER_NAME_MAX = 32;

export type Seed =
  | { readonly kind: 'host'; readonly host: string; readonly port: number }
  | { readonly kind: 'multiaddr'; readonly address: string };

/** @throws Error that says which entry is wrong. */
export function parseSeeds(text: string): Seed[] {
  const entries = text
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '');
  if (entries.length > SEEDS_MAX) throw new Error(`more than ${SEEDS_MAX} seeds`);
  return entries.map(parseSeed);
}

function parseSeed(entry: string): Seed {
  if (entry.startsWith('/')) {
    try {
      return { kind: 'multiaddr', address: multiaddr(entry).toString() };
    } catch (cause) {
      throw new Error(`${entry} is not a multiaddr`, { cause });
    }
  }
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s/]+)):(\d{1,5})$/.exec(entry);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || !(port >= 1 && port <= PORT_MAX))
    throw new Error(`${entry} is not host:port, [address]:port or a multiaddr`);
  return { kind: 'host', host, port };
}

/** All addresses that the seeds stand for now, as multiaddrs; names that do not resolve give none. */
export async function resolveSeeds(
  seeds: readonly Seed[],
  isOwn: (host: string, port: number) => boolean,
  onFailure: (host: string, error: unknown) => void,
): Promise<string[]> {
  const lists = await Promise.all(
    seeds.map(async (seed) => {
      if (seed.kind === 'multiaddr') return [seed.address];
      const hosts = isIP(seed.host) ? [seed.host] : await resolve(seed.host, onFailure);
      return hosts
        .filter((host) => !isOwn(host, seed.port))
        .map((host) => tcpAddress(host, seed.port));
    }),
  );
  return [...new Set(lists.flat())];
}

async function resolve(
  host: string,
  onFailure: (host: string, error: unknown) => void,
): Promise<string[]> {
  try {
    const found = await lookup(host, { all: true, verbatim: true });
    return found.slice(0, ADDRESSES_PER_NAME_MAX).map(({ address }) => address);
  } catch (error) {
    onFailure(host, error);
    return [];
  }
}

/** `/ip4|ip6|dns/<host>/tcp/<port>`. */
export function tcpAddress(host: string, port: number): string {
  const kind = isIPv6(host) ? 'ip6' : isIP(host) === 4 ? 'ip4' : 'dns';
  return `/${kind}/${host}/tcp/${port}`;
}

/** Host and port of a TCP multiaddr; undefined for any other. */
export function hostOf(address: string): { host: string; port: number } | undefined {
  const match = /^\/(?:ip4|ip6|dns|dns4|dns6)\/([^/]+)\/tcp\/(\d+)(?:\/p2p\/[^/]+)?$/.exec(address);
  const port = Number(match?.[2]);
  // A peer wrote it: what is no port would be thrown at by the socket.
  if (match?.[1] === undefined || !(port >= 1 && port <= PORT_MAX)) return undefined;
  return { host: match[1], port };
}

/** What libp2p listens on. It takes `::` for IPv6 alone, where every other service takes both. */
export function listenAddresses(host: string, port: number): string[] {
  const own = tcpAddress(host, port);
  return isAnyAddress(host) && isIPv6(host) ? [own, tcpAddress('0.0.0.0', port)] : [own];
}

/** Whether an address is one of this machine's. */
export function isLocalHost(host: string): boolean {
  const all = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  return host === 'localhost' || all.some(({ address }) => address === host);
}
