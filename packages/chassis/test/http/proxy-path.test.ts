import { describe, expect, it } from '@jest/globals';
import { proxyPath, relativeReference } from '../../src/http/proxy-path.ts';

describe('relativeReference', () => {
  it.each([
    ['/uploads', '/uploads/1'],
    ['/uploads?a=/b/c', '/uploads/1'],
    ['/files/a%2Fb', '/files/bafk'],
    ['/files/bafk.torrent', '/ipfs/bafk/'],
    ['/', '/files/x'],
    ['/ipfs/', '/a:b/c'],
  ])('an answer to %s leads to %s, below any path', (from, to) => {
    const reference = relativeReference(from, to);
    for (const base of ['', '/shoal', '/a/b'])
      expect(new URL(reference, `http://peer${base}${from}`).pathname).toBe(base + to);
  });
});

describe('proxyPath', () => {
  it.each([
    ['/shoal', '/shoal'],
    ['/shoal/', '/shoal'],
    ['/a/b.c', '/a/b.c'],
    ['/', ''],
    ['//evil.example', ''],
    ['/\\evil.example', ''],
    ['https://evil.example', ''],
    ['/a/../b', ''],
    ['/"><script>', ''],
    ['/a\r\nx: y', ''],
    [`/${'a'.repeat(300)}`, ''],
  ])('takes %j for %j', (given, path) => {
    expect(proxyPath({ 'x-forwarded-prefix': given })).toBe(path);
  });

  it('is empty when nobody says one', () => {
    expect(proxyPath({})).toBe('');
  });
});
