import { describe, expect, it } from '@jest/globals';
import { originFault } from '../src/origin.ts';

const write = (origin: string | undefined, host: string, hostNames: string[] = []) =>
  originFault({ method: 'POST', origin, host, hostNames });

describe('originFault', () => {
  it('lets programs write: they send no origin', () => {
    expect(write(undefined, 'files.example.com')).toBeUndefined();
  });

  it.each([
    ['http://127.0.0.1:7100', '127.0.0.1:7100'],
    ['http://[::1]:7100', '[::1]:7100'],
    ['http://localhost:7100', 'localhost:7100'],
    ['http://LOCALHOST:7100', 'LocalHost:7100'],
    ['http://nas:7100', 'nas:7100'],
    ['http://nas.local:7100', 'nas.local:7100'],
    ['https://nas.home.arpa', 'nas.home.arpa'],
  ])('lets the console at %s write', (origin, host) => {
    expect(write(origin, host)).toBeUndefined();
  });

  it('refuses a page of another site', () => {
    expect(write('https://evil.example', '127.0.0.1:7100')).toContain('evil.example');
    expect(write('http://127.0.0.1:8080', '127.0.0.1:7100')).toContain('8080');
  });

  it('refuses a page without a site', () => {
    expect(write('null', '127.0.0.1:7100')).toContain('null');
    expect(write('file:///home/x.html', '127.0.0.1:7100')).toContain('file:');
  });

  it('refuses a public name that was moved onto our address, unless it was listed', () => {
    expect(write('http://evil.example:7100', 'evil.example:7100')).toContain('GATEWAY_HOST_NAMES');
    expect(
      write('https://files.team.example', 'files.team.example', ['files.team.example']),
    ).toBeUndefined();
  });

  it('asks nothing of reads', () => {
    for (const method of ['GET', 'HEAD'])
      expect(
        originFault({ method, origin: 'https://evil.example', host: 'nas', hostNames: [] }),
      ).toBeUndefined();
  });
});
