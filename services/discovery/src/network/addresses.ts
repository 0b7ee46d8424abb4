/** TCP addresses as multiaddrs, and back. */
import { isIP, isIPv6 } from 'node:net';
import { networkInterfaces } from 'node:os';
import { isAnyAddress, PORT_MAX } from '@shoal/protocol';

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

/** The addresses that libp2p listens on. It takes `::` for IPv6 alone, where every other service takes both. */
export function listenAddresses(host: string, port: number): string[] {
  const own = tcpAddress(host, port);
  return isAnyAddress(host) && isIPv6(host) ? [own, tcpAddress('0.0.0.0', port)] : [own];
}

/** Whether an address is one of this machine's. */
export function isLocalHost(host: string): boolean {
  const all = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  return host === 'localhost' || all.some(({ address }) => address === host);
}
