import { describe, expect, it } from '@jest/globals';
import { wantsSha256 } from '../src/want-digest.ts';

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
    expect(wantsSha256(header)).toBe(isWanted);
  });

  it.each(['sha-256', 'sha-256=no', 'sha-256=0, =', 'SHA-256=0', 'sha-256=0.0', 'sha-256=11', ''])(
    'takes %j, which is no such list, for silence',
    (header) => {
      expect(wantsSha256(header)).toBe(true);
    },
  );
});
