import { describe, expect, it } from '@jest/globals';
import { createAccess, createClients, createProver, Roster } from '@shoal/chassis';
import { CLIENT_HEADER, PeerId } from '@shoal/protocol';
import type { FastifyRequest } from 'fastify';
import { PeerConfig } from '../../src/process/config.ts';

const self = PeerId.parse('12D3KooWRm8J3iL796zPFi2EtGGtUJn58AG67gcRx7CEMLnPYnNy');
const TOKEN = 'a-token-of-this-peer';
const secret = new Uint8Array(64).fill(1);
const prover = createProver(new Uint8Array(32), self, secret);

const access = createAccess({
  ownToken: { text: TOKEN, whenOwned: TOKEN },
  reads: 'open',
  publicReads: [],
  roster: new Roster(),
});

const clientsOf = (trustedProxies: string[] = [], localSecret = secret) =>
  createClients({ self, localSecret, trustedProxies, access, prover });

const requestOf = (
  remoteAddress: string,
  headers: Record<string, string> = {},
  { method, url } = { method: 'GET', url: '/files/a?b' },
) => ({ socket: { remoteAddress }, headers, method, url }) as unknown as FastifyRequest;

describe('the client of a request', () => {
  it.each([
    ['192.0.2.7', '192.0.2.7'],
    ['::ffff:192.0.2.7', '192.0.2.7'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:db8:1:2::9', '2001:db8:1:2::/64'],
    ['::1', '0:0:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
  ])('%s is %s', (address, client) => {
    expect(clientsOf().of(requestOf(address))).toBe(client);
  });

  it.each([
    ['nobody is trusted', [], '10.0.0.1', '192.0.2.7', '10.0.0.1'],
    ['the proxy is', ['10.0.0.0/8'], '10.0.0.1', '192.0.2.7', '192.0.2.7'],
    ['a chain of them', ['10.0.0.0/8'], '10.0.0.1', '6.6.6.6, 192.0.2.7, 10.2.3.4', '192.0.2.7'],
    ['another one', ['10.0.0.0/8'], '11.0.0.1', '192.0.2.7', '11.0.0.1'],
    ['what it says is no address', ['10.0.0.0/8'], '10.0.0.1', 'unknown', '10.0.0.1'],
    ['it says nothing', ['10.0.0.1'], '10.0.0.1', '', '10.0.0.1'],
    ['it tells ports', ['fd00::/8'], 'fd00::1', '192.0.2.7:4711', '192.0.2.7'],
    ['it is of IPv6', ['fd00::/8'], 'fd00::1', '[2001:db8::1]:80', '2001:db8:0:0::/64'],
    ['its address is mapped', ['10.0.0.0/8'], '::ffff:10.0.0.1', '192.0.2.7', '192.0.2.7'],
  ])('behind a proxy, when %s', (_, trusted, address, forwarded, client) => {
    const request = requestOf(address, { 'x-forwarded-for': forwarded });
    expect(clientsOf(trusted).of(request)).toBe(client);
  });

  it('is another one with the write token, and none with a wrong one', () => {
    const of = (authorization: string) => clientsOf().of(requestOf('192.0.2.7', { authorization }));
    const basic = Buffer.from(`me:${TOKEN}`).toString('base64');
    expect([of(`Bearer ${TOKEN}`), of(`Basic ${basic}`), of('Bearer wrong'), of('')]).toEqual([
      '192.0.2.7 token',
      '192.0.2.7 token',
      '192.0.2.7',
      '192.0.2.7',
    ]);
  });

  it('is passed on by the gateway, for the request that it is and no other', () => {
    const passed = { method: 'GET', path: '/files/a?b' };
    const headers = clientsOf().vouch('192.0.2.7 token', passed);
    const of = (given: Record<string, string>, line?: { method: string; url: string }) =>
      clientsOf().of(requestOf('127.0.0.1', given, line));
    const forged = headers[CLIENT_HEADER]?.replace(
      / \S+ /,
      ` ${Buffer.from('x').toString('base64url')} `,
    );
    expect([
      of(headers),
      of(headers, { method: 'GET', url: '/files/c' }),
      of(headers, { method: 'PUT', url: '/files/a?b' }),
      of({ [CLIENT_HEADER]: forged ?? '' }),
      of({ [CLIENT_HEADER]: 'nonsense' }),
      of(clientsOf([], new Uint8Array(64).fill(2)).vouch('192.0.2.7', passed)),
    ]).toEqual(['192.0.2.7 token', ...Array<string>(5).fill('127.0.0.1')]);
  });

  it('is a member, or a service of our own, by its proof', () => {
    const request = { method: 'GET', path: '/files/a?b' };
    const of = (headers: Record<string, string>) => clientsOf().of(requestOf('127.0.0.1', headers));
    expect(of(prover.prove(self, request))).toBe(`peer ${self}`);
    expect(of(prover.prove(self, { ...request, path: '/' }))).toBe('127.0.0.1');
  });
});

describe('TRUSTED_PROXIES', () => {
  const { TRUSTED_PROXIES } = PeerConfig.shape;

  it.each(['', '10.0.0.1', '10.0.0.0/8, fd00::/8,::1'])('may be "%s"', (text) => {
    expect(TRUSTED_PROXIES.safeParse(text).success).toBe(true);
  });

  it.each(['proxy.example', '10.0.0.0/33', '10.0.0.0/8/1', 'fd00::/129', '10.0.0.0/-1', '*'])(
    'is refused when it is "%s"',
    (text) => {
      expect(TRUSTED_PROXIES.safeParse(text).success).toBe(false);
    },
  );
});
