import { describe, expect, it } from '@jest/globals';
import { loadConfig } from '@shoal/chassis';
import { DiscoveryConfig } from '../../src/config.ts';
import { OwnAddress } from '../../src/network/own-address.ts';

const origins = {
  gateway: 'http://127.0.0.1:7100',
  chunker: 'http://127.0.0.1:7101',
  storage: 'http://127.0.0.1:7102',
  transfer: 'http://127.0.0.1:7103',
  discovery: 'http://127.0.0.1:7104',
};
const httpOf = (settings: Readonly<Record<string, string>>) => {
  const config = loadConfig(DiscoveryConfig, {
    PEER_ID: '12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5',
    PEER_DATA_DIR: '/d',
    SWARM_KEY_FILE: '/d/swarm.key',
    REDIS_SOCKET: '/d/redis.sock',
    BIND_HOST: '192.0.2.7',
    ...Object.fromEntries(
      Object.entries(origins).map(([name, url]) => [`${name.toUpperCase()}_URL`, url]),
    ),
    ...settings,
  });
  return new OwnAddress(config, origins).facts().http;
};

describe('the address that others know of this peer', () => {
  it('is where it listens, by plain HTTP', () => {
    expect(httpOf({})).toMatchObject({
      gateway: 'http://192.0.2.7:7100',
      chunker: 'http://192.0.2.7:7101',
    });
  });

  it('is HTTPS and the name of the certificate for the gateway that has one, and for no other service', () => {
    const tls = { GATEWAY_TLS_CERT_FILE: '/c.pem', GATEWAY_TLS_KEY_FILE: '/k.pem' };
    expect(httpOf({ ...tls, GATEWAY_HOST_NAMES: 'files.team.example, b.example' })).toMatchObject({
      gateway: 'https://files.team.example:7100',
      storage: 'http://192.0.2.7:7102',
    });
    expect(httpOf(tls).gateway).toBe('https://192.0.2.7:7100');
  });
});
