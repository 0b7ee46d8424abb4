import { describe, expect, it } from '@jest/globals';
import { hostOf, listenAddresses, tcpAddress } from '../../src/network/addresses.ts';
import { parseSeeds, resolveSeeds } from '../../src/members/seeds.ts';

const nobody = () => false;
const fail = (_: string, error: unknown) => {
  throw error;
};

describe('seeds', () => {
  it('are hosts, bracketed addresses and multiaddrs', () => {
    expect(parseSeeds(' peer:7105, [::1]:9,,/ip4/10.0.0.1/tcp/7105 ')).toEqual([
      { kind: 'host', host: 'peer', port: 7105 },
      { kind: 'host', host: '::1', port: 9 },
      { kind: 'multiaddr', address: '/ip4/10.0.0.1/tcp/7105' },
    ]);
    expect(parseSeeds('')).toEqual([]);
  });

  it.each(['peer', 'peer:', 'peer:0', 'peer:70000', '::1:80', '/nonsense/1'])(
    'refuse %s and say which',
    (entry) => {
      expect(() => parseSeeds(`ok:1,${entry}`)).toThrow(entry);
    },
  );

  it('leave our own addresses out, and each address stands once', async () => {
    const seeds = parseSeeds('10.0.0.1:1,10.0.0.2:1,10.0.0.2:1');
    const isOwn = (host: string) => host === '10.0.0.1';
    expect(await resolveSeeds(seeds, isOwn, fail)).toEqual(['/ip4/10.0.0.2/tcp/1']);
    expect(await resolveSeeds(seeds, nobody, fail)).toHaveLength(2);
  });

  it('are listened for on both families, when that is what :: means to the services', () => {
    expect(listenAddresses('::', 5)).toEqual(['/ip6/::/tcp/5', '/ip4/0.0.0.0/tcp/5']);
    for (const host of ['::1', '0.0.0.0', '127.0.0.1'])
      expect(listenAddresses(host, 5)).toEqual([tcpAddress(host, 5)]);
  });

  it('are multiaddrs and back', () => {
    for (const host of ['10.0.0.1', 'fd00::1', 'peer.example'])
      expect(hostOf(tcpAddress(host, 80))).toEqual({ host, port: 80 });
    expect(hostOf('/ip4/10.0.0.1/udp/80')).toBeUndefined();
  });
});
