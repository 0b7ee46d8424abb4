/**
 * Which addresses are out on the internet. A peer that fetches what a request names must not be sent
 * into its own network: to a router, a metadata service, or itself.
 */
import { BlockList, isIPv6 } from 'node:net';

/** Not reachable from everywhere, after IANA's registry of special-purpose IPv4 addresses (RFC 6890). */
const V4_SPECIAL = [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10], // carrier-grade NAT
  ['127.0.0.0', 8],
  ['169.254.0.0', 16], // link-local, and clouds' metadata
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 4], // multicast
  ['240.0.0.0', 4],
] as const;
/** All that is handed out of IPv6; loopback, private, link-local and mapped addresses lie outside. */
const V6_GLOBAL = ['2000::', 3] as const;
/** Parts of that which lead elsewhere: tunnels that hold an IPv4 address, and documentation. */
const V6_SPECIAL = [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
] as const;

const v4Special = new BlockList();
for (const [net, bits] of V4_SPECIAL) v4Special.addSubnet(net, bits, 'ipv4');
const v6Global = new BlockList();
v6Global.addSubnet(...V6_GLOBAL, 'ipv6');
const v6Special = new BlockList();
for (const [net, bits] of V6_SPECIAL) v6Special.addSubnet(net, bits, 'ipv6');

/** True for an IP address, without brackets, that belongs to the public internet. */
export function isPublicAddress(address: string): boolean {
  if (isIPv6(address)) return v6Global.check(address, 'ipv6') && !v6Special.check(address, 'ipv6');
  return !v4Special.check(address, 'ipv4');
}
