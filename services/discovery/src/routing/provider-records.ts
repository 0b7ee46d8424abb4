/**
 * Members as records of Delegated Routing V1: their gateways as multiaddrs, the filters of IPIP-484,
 * and the rotation. Clients take the first record, so the order is what spreads them over the swarm.
 */
import { isIP } from 'node:net';
import {
  GATEWAY_PROTOCOL,
  type Member,
  ROUTING_RECORDS_MAX,
  type RoutingRecord,
} from '@shoal/protocol';

/** The longest name in DNS. */
const HOST_LENGTH_MAX = 253;
/** Stands for a record that names no protocol or no address; ours name both. */
const UNKNOWN = 'unknown';

export interface Filters {
  readonly 'filter-protocols'?: string | undefined;
  readonly 'filter-addrs'?: string | undefined;
}

/** Records of these members, as far as the filters leave them, at most as many as one answer holds. */
export function toRecords(
  members: readonly Member[],
  filters: Filters,
  /** Index of the member to begin with; any whole number, it goes round. */
  first: number,
): RoutingRecord[] {
  const kept = members.flatMap((member) => {
    const record = filtered(toRecord(member), filters);
    return record === undefined ? [] : [record];
  });
  const start = kept.length === 0 ? 0 : first % kept.length;
  return [...kept.slice(start), ...kept.slice(0, start)].slice(0, ROUTING_RECORDS_MAX);
}

function toRecord({ peerId, http }: Member): RoutingRecord {
  const address = gatewayAddress(http.gateway);
  return {
    Schema: 'peer',
    ID: peerId,
    Addrs: address === undefined ? [] : [address],
    Protocols: [GATEWAY_PROTOCOL],
  };
}

/**
 * An HTTP origin as a multiaddr, always with its port: Helia's filter drops one without `/tcp`. Kubo
 * takes plain HTTP from literal addresses alone, so a name is written only where no address is known.
 */
export function gatewayAddress(origin: string): string | undefined {
  const { protocol, hostname, port } = new URL(origin);
  const host = hostname.replace(/^\[|\]$/g, '');
  if (host === '' || host.length > HOST_LENGTH_MAX) return undefined;
  const kind = { 4: 'ip4', 6: 'ip6' }[isIP(host)] ?? 'dns';
  const isSecure = protocol === 'https:';
  const number = port === '' ? (isSecure ? '443' : '80') : port;
  return `/${kind}/${host}/tcp/${number}${isSecure ? '/tls' : ''}/http`;
}

/** The record with the addresses that the filters leave it; undefined when they leave nothing. */
function filtered(record: RoutingRecord, filters: Filters): RoutingRecord | undefined {
  const protocols = namesIn(filters['filter-protocols']);
  const speaks = record.Protocols.map((name) => name.toLowerCase());
  const isWanted = speaks.length === 0 ? protocols.includes(UNKNOWN) : overlap(protocols, speaks);
  if (protocols.length > 0 && !isWanted) return undefined;
  const wishes = namesIn(filters['filter-addrs']);
  if (wishes.length === 0) return record;
  if (record.Addrs.length === 0) return wishes.includes(UNKNOWN) ? record : undefined;
  const refused = wishes.filter((name) => name.startsWith('!')).map((name) => name.slice(1));
  const wanted = wishes.filter((name) => !name.startsWith('!'));
  const Addrs = record.Addrs.filter((address) => {
    const names = protocolsOf(address);
    return !overlap(names, refused) && (wanted.length === 0 || overlap(names, wanted));
  });
  return Addrs.length === 0 ? undefined : { ...record, Addrs };
}

function namesIn(filter: string | undefined): string[] {
  return (filter ?? '')
    .toLowerCase()
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');
}

/** Protocol names in a multiaddr of ours: all but `tls` and `http` are followed by a value. */
function protocolsOf(address: string): string[] {
  const [host = '', , transport = '', , ...rest] = address.split('/').slice(1);
  // `/https` is the older way to write `/tls/http`, and what clients still filter by.
  return [host, transport, ...rest, ...(rest.includes('tls') ? ['https'] : [])];
}

function overlap(some: readonly string[], others: readonly string[]): boolean {
  return some.some((each) => others.includes(each));
}
