import { describe, expect, it } from '@jest/globals';
import { generateKeyPairSync } from 'node:crypto';
import { identityOf } from '@shoal/chassis';
import { type Member, ROUTING_RECORDS_MAX } from '@shoal/protocol';
import { gatewayAddress, toRecords } from '../../src/routing/provider-records.ts';

function member(gateway: string): Member {
  const origin = 'http://127.0.0.1:1';
  return {
    v: 1,
    peerId: identityOf(generateKeyPairSync('ed25519').privateKey).peerId,
    incarnation: 1,
    seq: 1,
    libp2p: [],
    http: { gateway, chunker: origin, storage: origin, transfer: origin, discovery: origin },
    domain: { host: 'h', disk: 'd' },
    version: '0',
    capacityBytes: 0,
    usedBytes: 0,
    freeBytes: 0,
    blocks: 0,
    leaving: false,
    draining: false,
    tls: true,
    state: 'alive',
    isSelf: false,
    seenMsAgo: 0,
  };
}

const plain = member('http://127.0.0.1:7100');
const secure = member('https://files.example:7200');
const both = [plain, secure];
const idsWith = (filters: Parameters<typeof toRecords>[1]) =>
  toRecords(both, filters, 0).map(({ ID }) => ID);

describe('a gateway as a multiaddr', () => {
  it.each([
    ['http://127.0.0.1:7100', '/ip4/127.0.0.1/tcp/7100/http'],
    ['http://[::1]:7100', '/ip6/::1/tcp/7100/http'],
    ['http://peer-1:7100', '/dns/peer-1/tcp/7100/http'],
    ['https://files.example:7100', '/dns/files.example/tcp/7100/tls/http'],
    ['https://files.example', '/dns/files.example/tcp/443/tls/http'],
    ['http://10.0.0.7', '/ip4/10.0.0.7/tcp/80/http'],
  ])('%s is %s', (origin, address) => {
    expect(gatewayAddress(origin)).toBe(address);
  });

  it('leaves out a name that is longer than DNS allows', () => {
    expect(gatewayAddress(`http://${'a'.repeat(254)}:1`)).toBeUndefined();
  });
});

describe('records', () => {
  it('say who, where, and that it is a gateway', () => {
    expect(toRecords([plain], {}, 0)).toEqual([
      {
        Schema: 'peer',
        ID: plain.peerId,
        Addrs: ['/ip4/127.0.0.1/tcp/7100/http'],
        Protocols: ['transport-ipfs-gateway-http'],
      },
    ]);
  });

  it('begin with another member each turn, and lose none', () => {
    const members = ['a', 'b', 'c'].map((name) => member(`http://${name}:1`));
    const turns = [7, 8, 9, 10].map((first) => toRecords(members, {}, first).map(({ ID }) => ID));
    expect(new Set(turns.slice(0, 3).map(([id]) => id)).size).toBe(3);
    expect(turns[3]).toEqual(turns[0]);
    for (const turn of turns) expect(new Set(turn).size).toBe(3);
  });

  it('are at most a hundred, and in a larger swarm every member has its turn', () => {
    const members = Array.from({ length: ROUTING_RECORDS_MAX + 5 }, () => member('http://a:1'));
    const last = toRecords(members, {}, members.length - 1);
    expect(last).toHaveLength(ROUTING_RECORDS_MAX);
    expect(last[0]?.ID).toBe(members.at(-1)?.peerId);
  });

  it('are none of none', () => {
    expect(toRecords([], { 'filter-addrs': 'tcp' }, 5)).toEqual([]);
  });
});

describe('the filters of IPIP-484', () => {
  it.each([
    [{ 'filter-protocols': 'transport-ipfs-gateway-http' }, 2],
    [{ 'filter-protocols': 'unknown,transport-bitswap,Transport-IPFS-Gateway-HTTP' }, 2],
    [{ 'filter-protocols': 'transport-bitswap' }, 0],
    [{ 'filter-protocols': 'unknown' }, 0],
    [{ 'filter-protocols': ' , ' }, 2],
    [{ 'filter-addrs': 'tcp' }, 2],
    [{ 'filter-addrs': 'TLS' }, 1],
    [{ 'filter-addrs': 'https' }, 1],
    [{ 'filter-addrs': '!tls' }, 1],
    [{ 'filter-addrs': '!http' }, 0],
    [{ 'filter-addrs': 'tcp,!https' }, 1],
    [{ 'filter-addrs': 'https,tcp,webrtc,webrtc-direct,wss,tls' }, 2],
    [{ 'filter-addrs': 'unknown' }, 0],
    [{ 'filter-addrs': 'udp' }, 0],
    [{ 'filter-addrs': '7100' }, 0],
  ])('%j leaves %d of 2', (filters, count) => {
    expect(idsWith(filters)).toHaveLength(count);
  });

  it('keeps a record without an address only for who asks for unknown ones', () => {
    const nameless = member(`http://${'a'.repeat(254)}:1`);
    expect(toRecords([nameless], { 'filter-addrs': 'unknown' }, 0)).toHaveLength(1);
    expect(toRecords([nameless], { 'filter-addrs': '!udp' }, 0)).toEqual([]);
    expect(toRecords([nameless], {}, 0)[0]?.Addrs).toEqual([]);
  });
});
