import { describe, expect, it } from '@jest/globals';
import { formatSha256, readSha256, Sha256, wantsSha256 } from '../src/index.ts';

describe('wantsSha256', () => {
  it.each<[string | string[] | undefined, boolean]>([
    [undefined, true],
    ['sha-256=1', true],
    ['sha-256=10, sha-512=3', true],
    ['sha-256=0', false],
    ['sha-512=10,sha-256=0', false],
    ['sha-256=0;q=1', false],
    ['sha-512=10', true], // not ours; what we have is sent anyway
    ['sha-256=0, sha-256=5', true], // of two, the last counts
    [['sha-512=3', 'sha-256=0'], false],
  ])('reads %j as %j', (header, isWanted) => {
    expect(wantsSha256(header, { unasked: true })).toBe(isWanted);
  });

  it.each(['sha-256', 'sha-256=no', 'sha-256=0, =', 'SHA-256=0', 'sha-256=0.0', 'sha-256=11', ''])(
    'takes %j, which is no such list, for silence',
    (header) => {
      expect(wantsSha256(header, { unasked: true })).toBe(true);
      expect(wantsSha256(header, { unasked: false })).toBe(false);
    },
  );

  it.each<[string | undefined, boolean]>([
    [undefined, false],
    ['sha-256=10', true],
    ['sha-512=3, sha-256=1;x=y', true],
    ['sha-256=0', false],
    ['sha-512=10', false],
    ['sha-256=10, sha-256=0', false],
  ])('reads %j as %j where a digest is not sent unasked', (header, isWanted) => {
    expect(wantsSha256(header, { unasked: false })).toBe(isWanted);
  });
});

it('formatSha256 writes what readSha256 reads', () => {
  const sha256 = Sha256.parse('0f'.repeat(32));
  expect(readSha256('Repr-Digest', formatSha256(sha256))).toBe(sha256);
});
