import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { type Bencodable, bencode } from '../../src/describe/bencode.ts';

const text = (value: Bencodable) => bencode(value).toString('latin1');

describe('bencode', () => {
  it('writes the examples of BEP 3', () => {
    expect(text('spam')).toBe('4:spam');
    expect(text(3)).toBe('i3e');
    expect(text(-3)).toBe('i-3e');
    expect(text(0)).toBe('i0e');
    expect(text(['spam', 'eggs'])).toBe('l4:spam4:eggse');
    expect(text({ cow: 'moo', spam: 'eggs' })).toBe('d3:cow3:moo4:spam4:eggse');
    expect(text({ spam: ['a', 'b'] })).toBe('d4:spaml1:a1:bee');
  });

  it('counts bytes and not characters, and takes bytes as they are', () => {
    expect(bencode('größe').subarray(0, 2).toString()).toBe('7:');
    expect(bencode(Uint8Array.of(0, 255, 128))).toEqual(Buffer.from([51, 58, 0, 255, 128]));
  });

  it('sorts keys by their bytes, whatever order they were given in', () => {
    expect(text({ b: 1, a: 2, B: 3 })).toBe('d1:Bi3e1:ai2e1:bi1ee');
    // In UTF-16 the surrogate pair would come first; in bytes it comes last.
    expect(bencode({ '\u{10000}': 1, '\uffff': 2 })).toEqual(
      bencode({ '\uffff': 2, '\u{10000}': 1 }),
    );
    expect(bencode({ '\u{10000}': 1, '\uffff': 2 }).indexOf('\uffff')).toBeLessThan(
      bencode({ '\u{10000}': 1, '\uffff': 2 }).indexOf('\u{10000}'),
    );
  });

  it('refuses numbers that are not whole or not exact', () => {
    for (const value of [0.5, NaN, Infinity, 2 ** 53])
      expect(() => bencode(value)).toThrow(RangeError);
  });

  it('is read back to what was written, whatever it is', () => {
    const { value } = fc.letrec<{ value: Bencodable }>((tie) => ({
      value: fc.oneof(
        { maxDepth: 4 },
        fc.maxSafeInteger(),
        fc.uint8Array({ maxLength: 40 }),
        fc.array(tie('value'), { maxLength: 4 }),
        fc.dictionary(fc.string({ unit: 'grapheme', maxLength: 8 }), tie('value'), { maxKeys: 4 }),
      ),
    }));
    fc.assert(
      fc.property(value, (given) => {
        const { value: read, end } = bdecode(bencode(given), 0);
        expect(end).toBe(bencode(given).length);
        expect(read).toEqual(plain(given));
      }),
      { seed: 20261122, numRuns: 500 },
    );
  });
});

/** What is read: byte strings as hex, since nothing says whether they are text. */
type Read = number | string | Read[] | Map<string, Read>;

function bdecode(bytes: Buffer, at: number): { value: Read; end: number } {
  const mark = String.fromCharCode(bytes[at] ?? 0);
  if (mark === 'i') {
    const end = bytes.indexOf('e', at);
    return { value: Number(bytes.toString('latin1', at + 1, end)), end: end + 1 };
  }
  if (mark === 'l' || mark === 'd') {
    const items: Read[] = [];
    let next = at + 1;
    while (bytes[next] !== 'e'.charCodeAt(0)) {
      const { value, end } = bdecode(bytes, next);
      items.push(value);
      next = end;
    }
    if (mark === 'l') return { value: items, end: next + 1 };
    const pairs = items.flatMap((key, index): [string, Read][] =>
      index % 2 === 0 && typeof key === 'string' ? [[key, items[index + 1] ?? '']] : [],
    );
    const keys = pairs.map(([key]) => key); // in hex, which sorts as the bytes do
    if (keys.join(' ') !== keys.toSorted().join(' '))
      throw new Error(`unsorted: ${keys.join(' ')}`);
    return { value: new Map(pairs), end: next + 1 };
  }
  const colon = bytes.indexOf(':', at);
  const end = colon + 1 + Number(bytes.toString('latin1', at, colon));
  return { value: bytes.toString('hex', colon + 1, end), end };
}

function plain(value: Bencodable): Read {
  if (typeof value === 'number') return value === 0 ? 0 : value; // there is no -0
  if (typeof value === 'string') return Buffer.from(value).toString('hex');
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  if (Array.isArray(value)) return value.map((item: Bencodable) => plain(item));
  return new Map(
    Object.entries(value).map(([key, item]): [string, Read] => [
      Buffer.from(key).toString('hex'),
      plain(item as Bencodable),
    ]),
  );
}
