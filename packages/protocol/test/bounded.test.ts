import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { arePackedBits, daysAhead, HaveMap, Multiaddr, Origin, PinName } from '../src/index.ts';

const seed = 1;
const encode = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64url');

describe('packed bits', () => {
  it('are those that a have-map of so many blocks has, and no others', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 300 }),
        fc.uint8Array({ maxLength: 50 }),
        (count, from) => {
          const bytes = new Uint8Array(Math.ceil(count / 8));
          bytes.set(from.subarray(0, bytes.length));
          const isPadded = count % 8 === 0 || ((bytes.at(-1) ?? 0) & (0xff >> (count % 8))) === 0;
          const text = encode(bytes);
          expect(arePackedBits(text, count)).toBe(isPadded);
          expect(arePackedBits(`${text}A`, count)).toBe(false);
          expect(arePackedBits(text.slice(1), count)).toBe(false);
          expect(arePackedBits(`${text.slice(1)}=`, count)).toBe(false);
        },
      ),
      { seed },
    );
  });

  it('that are short, padded or beyond the blocks are no have-map', () => {
    const root = 'bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku';
    const take = (blocks: number, bits: string) =>
      HaveMap.safeParse({ root, blocks, bits }).success;
    expect(take(3, '4A')).toBe(true);
    for (const bits of ['', '4', '4A==', '4A\n', '==', '  ', '__', 'é0'])
      expect({ bits, isTaken: take(3, bits) }).toEqual({ bits, isTaken: false });
    expect(take(2 ** 53 - 1, '4A')).toBe(false);
  });
});

describe('addresses of other peers', () => {
  it.each([
    'http://127.0.0.1:7100',
    'https://[::1]:7100',
    'http://peer-1.example.',
    'http://shoal_peer_1:7100',
  ])('such as %s are taken', (origin) => {
    expect(Origin.safeParse(origin).success).toBe(true);
  });

  it.each([
    'http://exämple:7100',
    'http://127.0.0.1:99999',
    'http://127.0.0.1:7100/',
    'http://127.0.0.1:7100/path',
    'http://user@127.0.0.1:7100',
    'http://a\r\nx: y',
    'http://\u001b[2J',
    'http://999.999.999.999:1',
    'http://[::1',
    'ftp://127.0.0.1',
    `http://${'a'.repeat(300)}`,
    'http://',
    '',
  ])('such as %j are not', (origin) => {
    expect(Origin.safeParse(origin).success).toBe(false);
  });

  it('over libp2p are printing ASCII', () => {
    expect(Multiaddr.safeParse('/ip4/127.0.0.1/tcp/7105').success).toBe(true);
    expect(Multiaddr.safeParse('/ip6/::1/udp/1/quic-v1').success).toBe(true);
    for (const text of ['', '/', 'ip4/1.2.3.4', '/ip4/ü', '/dns/a b', '/dns/\u001b', '/a//b'])
      expect({ text, isTaken: Multiaddr.safeParse(text).success }).toEqual({
        text,
        isTaken: false,
      });
  });
});

describe('names in pins', () => {
  it('are those that were ever let in, and can stand in a header', () => {
    for (const name of ['a', 'a/b', 'ü'.repeat(127), 'gpj\u202eexe'])
      expect(PinName.safeParse(name).success).toBe(true);
    for (const name of ['', 'a\u001b[2J', 'a\u009b', '\ud800', 'ü'.repeat(128), 'a\n'])
      expect(PinName.safeParse(name).success).toBe(false);
  });
});

describe('a date', () => {
  it('may be 7 days ahead', () => {
    const dayMs = 24 * 3_600_000;
    expect(daysAhead(7 * dayMs, 0)).toBeUndefined();
    expect(daysAhead(7 * dayMs + 1, 0)).toBe(7);
    expect(daysAhead(0, 7 * dayMs)).toBeUndefined();
  });
});
