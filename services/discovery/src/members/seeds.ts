/**
 * Known addresses to join through: `host:port`, `[v6]:port` or multiaddrs. A DNS name may stand for
 * many peers (a headless service, a Compose service with replicas), so it is resolved again at every
 * round, to all its addresses, and our own are left out.
 */
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { multiaddr } from '@multiformats/multiaddr';
import { PORT_MAX } from '@shoal/protocol';
import { tcpAddress } from '../network/addresses.ts';

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
