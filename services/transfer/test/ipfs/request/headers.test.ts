import { describe, expect, it } from '@jest/globals';
import { pathHeaders, locationOf } from '../../../src/ipfs/request/headers.ts';

describe('pathHeaders', () => {
  it('says the path and its roots, unless that is too long for a header', () => {
    expect(pathHeaders({ asked: '/ipfs/a/b' }, ['a', 'b'])).toEqual({
      'x-ipfs-path': '/ipfs/a/b',
      'x-ipfs-roots': 'a,b',
    });
    const roots = Array.from({ length: 128 }, () => 'x'.repeat(59));
    expect(pathHeaders({ asked: '/ipfs/a' }, roots)).toEqual({});
    expect(pathHeaders({ asked: '/ipfs/a' }, ['a'], 7)).toEqual({});
  });
});

describe('locationOf', () => {
  it('is the address with what was chosen in it', () => {
    expect(locationOf({ asked: '/ipfs/a%20b', search: '' }, { format: 'raw' })).toBe(
      '/ipfs/a%20b?format=raw',
    );
    const chosen = { format: 'car', 'car-dups': 'n' };
    expect(locationOf({ asked: '/ipfs/a', search: 'dag-scope=block&car-dups=y' }, chosen)).toBe(
      '/ipfs/a?dag-scope=block&car-dups=n&format=car',
    );
  });
});
