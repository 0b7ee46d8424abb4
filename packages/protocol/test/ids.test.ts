import { describe, expect, it } from '@jest/globals';
import { Cid, FileHash, PeerId, routePath } from '../src/index.ts';

const empty = 'bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku';

describe('hashes', () => {
  it('are CIDs, or sha-256 in either case', () => {
    expect(FileHash.parse(empty)).toBe(empty);
    expect(FileHash.parse('AB'.repeat(32))).toBe('ab'.repeat(32));
  });

  it.each([
    '',
    'x',
    empty.slice(1),
    `${empty}a`,
    empty.toUpperCase(),
    '../../etc',
    'g'.repeat(64),
    'QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn',
  ])('are not %j', (hash) => {
    expect(FileHash.safeParse(hash).success).toBe(false);
    expect(Cid.safeParse(hash).success).toBe(false);
  });

  it('of peers are Ed25519 peer ids', () => {
    expect(PeerId.safeParse('12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5').success).toBe(
      true,
    );
    expect(PeerId.safeParse('QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG').success).toBe(false);
  });
});

describe('routePath', () => {
  it('encodes what it fills in, and leaves out what is not given', () => {
    expect(routePath('/files/:name', { name: 'a/b ü' }, { copies: 2, name: undefined })).toBe(
      '/files/a%2Fb%20%C3%BC?copies=2',
    );
    expect(routePath('/peers', {})).toBe('/peers');
  });
});
