import { describe, expect, it } from '@jest/globals';
import { bareHost, dialable, hostPort, isAnyAddress } from '../src/host-port.ts';

describe('hosts and ports', () => {
  it.each([
    ['127.0.0.1', '127.0.0.1:80'],
    ['peer.local', 'peer.local:80'],
    ['::1', '[::1]:80'],
    ['fd00::2', '[fd00::2]:80'],
  ])('%s with a port is %s, and a URL reads it back', (host, text) => {
    expect(hostPort(host, 80)).toBe(text);
    expect(bareHost(new URL(`ws://${hostPort(host, 81)}`).hostname)).toBe(host);
  });

  it.each([
    ['0.0.0.0', '127.0.0.1'],
    ['::', '::1'],
    ['0:0:0:0:0:0:0:0', '::1'],
  ])('what listens on %s is dialled at %s', (host, at) => {
    expect([isAnyAddress(host), dialable(host)]).toEqual([true, at]);
  });

  it.each(['::1', '127.0.0.1', 'fd00::', '10.0.0.0', 'localhost'])('%s is one address', (host) => {
    expect([isAnyAddress(host), dialable(host)]).toEqual([false, host]);
  });
});
