/** Whose address a request comes from: the socket's, or what a proxy that is believed says. */
import { BlockList, isIP, isIPv6 } from 'node:net';

/**
 * Proxies that are passed on the way back to a client, at most: nobody chains more.
 * Past it: the last of them counts as the client.
 */
const HOPS_MAX = 16;

/** Whether this is an address or a network, such as `10.0.0.0/8`. */
export function isNetwork(text: string): boolean {
  const [address = '', bits, ...more] = text.split('/');
  const version = isIP(address);
  if (version === 0 || more.length > 0) return false;
  return (
    bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (version === 6 ? 128 : 32))
  );
}

/** Addresses and networks, to look one up in. */
export function listNetworks(networks: readonly string[]): BlockList {
  const list = new BlockList();
  for (const network of networks) {
    const [address = '', bits] = network.split('/');
    const family = isIPv6(address) ? 'ipv6' : 'ipv4';
    if (bits === undefined) list.addAddress(address, family);
    else list.addSubnet(address, Number(bits), family);
  }
  return list;
}

/**
 * The client's address. `X-Forwarded-For` counts from its end, and only as far as each proxy on the way
 * is believed: the client may have written all that comes before it.
 */
export function clientAddress(
  socketAddress: string | undefined,
  forwardedFor: string | undefined,
  proxies: BlockList,
): string {
  let address = plainAddress(socketAddress);
  const hops = (forwardedFor ?? '').split(',').slice(-HOPS_MAX);
  while (hops.length > 0 && isListed(proxies, address)) {
    const hop = plainAddress((hops.pop() ?? '').trim());
    if (isIP(hop) === 0) break;
    address = hop;
  }
  return address;
}

/** The addresses that count as one client: one address of IPv6 comes with the whole /64. */
export function addressShare(address: string): string {
  return isIPv6(address) ? `${groupsOf(address).slice(0, 4).join(':')}::/64` : address;
}

/** Whether an address, as `plainAddress` writes it, is in the list. */
export const isListed = (proxies: BlockList, address: string): boolean =>
  isIP(address) !== 0 && proxies.check(address, isIPv6(address) ? 'ipv6' : 'ipv4');

/** Whether a plain address is one of those that never leave a machine. */
export const isLoopback = (address: string): boolean =>
  isIP(address) === 4
    ? address.startsWith('127.')
    : /^(?:::1|(?:0{1,4}:){7}0{0,3}1)$/.test(address);

/** Without the port, the brackets and the zone; an IPv4 address in IPv6's clothes as what it is. */
export function plainAddress(text = ''): string {
  const bare = (/^\[(.*)\](?::\d+)?$/.exec(text)?.[1] ?? text).replace(/%.*$/, '');
  const v4 = /^(?:::ffff:)?(\d+\.\d+\.\d+\.\d+)(?::\d+)?$/i.exec(bare)?.[1];
  return v4 ?? bare.toLowerCase();
}

/** The eight groups of an IPv6 address, without leading zeros. */
function groupsOf(address: string): string[] {
  // The URL parser writes every spelling of an address in the one of RFC 5952.
  const canonical = new URL(`http://[${address}]`).hostname.slice(1, -1);
  const [head = '', tail] = canonical.split('::');
  const left = head === '' ? [] : head.split(':');
  if (tail === undefined) return left;
  const right = tail === '' ? [] : tail.split(':');
  return [...left, ...Array<string>(8 - left.length - right.length).fill('0'), ...right];
}
