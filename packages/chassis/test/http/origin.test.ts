import { describe, expect, it } from '@jest/globals';
import { isOwnHost, isPublicRead, originFault, ownHostNames } from '../../src/http/origin.ts';

const ask = (more: Record<string, string>, method = 'POST') =>
  originFault({ method, path: '/files', host: '127.0.0.1:7100', ...more });

describe('isOwnHost', () => {
  it.each([
    '127.0.0.1:7100',
    '192.0.2.7',
    '[::1]:7100',
    '[fe80::1%eth0]:7100',
    'localhost:7100',
    'LocalHost.:7100',
    'nas:7100',
    'shoal-peer-1',
    'nas.local:7100',
    'NAS.Home.Arpa',
    'shoal-0.shoal-peers.default.svc.cluster.local:7105',
    'peer.internal',
    'files.team.example:8443',
    '127.1:7100',
    '',
  ])('takes %s', (host) => {
    expect(isOwnHost(host, ['files.team.example'])).toBe(true);
  });

  it.each([
    'evil.example:7100',
    '127.0.0.1.evil.example',
    'local.evil.example',
    'evillocal.example',
    'files.team.example.evil.example',
    'x.files.team.example',
    'evil.example:80@127.0.0.1',
    'user@evil.example',
    '1.evil',
  ])('refuses %s', (host) => {
    expect(isOwnHost(host, ['files.team.example'])).toBe(false);
  });
});

describe('ownHostNames', () => {
  it('has what others, our own services and the operator call this peer by', () => {
    const own = ownHostNames({
      BIND_HOST: 'one.team.example',
      DISCOVERY_ADVERTISE_HOST: 'Two.Team.example',
      GATEWAY_HOST_NAMES: ['files.team.example'],
      GATEWAY_URL: 'http://three.team.example:7100',
      CHUNKER_URL: 'http://127.0.0.1:7101',
      STORAGE_URL: 'http://127.0.0.1:7102',
      TRANSFER_URL: 'http://127.0.0.1:7103',
      DISCOVERY_URL: 'http://four.team.example:7104',
    });
    for (const name of ['one', 'two', 'three', 'four', 'files'])
      expect([name, isOwnHost(`${name}.team.example:7102`, own)]).toEqual([name, true]);
    expect(isOwnHost('five.team.example', own)).toBe(false);
  });
});

describe('originFault', () => {
  it('lets programs ask: they send no origin', () => {
    expect(ask({})).toBeUndefined();
  });

  it.each([
    ['http://127.0.0.1:7100', '127.0.0.1:7100'],
    ['http://[::1]:7100', '[::1]:7100'],
    ['http://LOCALHOST:7100', 'LocalHost:7100'],
    ['https://nas.home.arpa', 'nas.home.arpa'],
  ])('lets the console at %s ask', (origin, host) => {
    expect(ask({ origin, host, 'sec-fetch-site': 'same-origin' })).toBeUndefined();
  });

  it('refuses a page of another site, whatever the method', () => {
    for (const method of ['GET', 'HEAD', 'OPTIONS', 'POST', 'DELETE']) {
      expect(ask({ origin: 'https://evil.example' }, method)).toContain('evil.example');
      expect(ask({ origin: 'http://127.0.0.1:8080' }, method)).toContain('8080');
    }
  });

  it('refuses a page without a site, and several at once', () => {
    expect(ask({ origin: 'null' })).toContain('null');
    expect(ask({ origin: 'file:///home/x.html' })).toContain('file:');
    expect(ask({ origin: 'http://127.0.0.1:7100, https://evil.example' })).toContain('evil');
  });

  it.each(['cross-site', 'same-site'])(
    'refuses what another page embeds (%s), and lets a person follow a link',
    (site) => {
      const embeds = { 'sec-fetch-site': site, 'sec-fetch-mode': 'no-cors' };
      expect(ask({ ...embeds, 'sec-fetch-dest': 'image' }, 'GET')).toContain('another page');
      const follows = { 'sec-fetch-site': site, 'sec-fetch-mode': 'navigate' };
      expect(ask({ ...follows, 'sec-fetch-dest': 'document' }, 'GET')).toBeUndefined();
      expect(ask({ ...follows, 'sec-fetch-dest': 'iframe' }, 'GET')).toContain('another page');
      expect(ask({ ...follows, 'sec-fetch-dest': 'document' }, 'POST')).toContain('another page');
    },
  );
});

describe('isPublicRead', () => {
  it('is reading what is the same everywhere', () => {
    for (const method of ['GET', 'HEAD', 'OPTIONS'])
      for (const path of ['/ipfs/bafy', '/routing/v1/providers/bafy'])
        expect(isPublicRead({ method, path })).toBe(true);
  });

  it('is no write, nor what may become one, nor anything else', () => {
    expect(isPublicRead({ method: 'POST', path: '/ipfs/bafy' })).toBe(false);
    const meant = { 'x-http-method-override': 'DELETE' };
    expect(isPublicRead({ method: 'GET', path: '/ipfs/bafy', ...meant })).toBe(false);
    for (const path of ['/ipfs', '/files/x', '/', '//ipfs/x', 'http://evil.example/ipfs/x'])
      expect(isPublicRead({ method: 'GET', path })).toBe(false);
  });
});
