/**
 * Bencoding, as BEP 3 has it: whole numbers, byte strings, lists, and dictionaries whose keys are
 * in the order of their bytes. Only the way out: nothing bencoded is ever read.
 */

/** A value that can be bencoded; text is written in UTF-8. */
export type Bencodable =
  | number
  | string
  | Uint8Array
  | readonly Bencodable[]
  | { readonly [key: string]: Bencodable };

/** One value has one encoding: that is what an infohash rests on. */
export function bencode(value: Bencodable): Buffer {
  return Buffer.concat(partsOf(value));
}

function partsOf(value: Bencodable): Uint8Array[] {
  if (typeof value === 'number') return [numberOf(value)];
  if (typeof value === 'string') return stringOf(Buffer.from(value));
  if (value instanceof Uint8Array) return stringOf(value);
  if (isList(value)) return [LIST, ...value.flatMap(partsOf), END];
  const entries = Object.entries(value)
    .map(([key, item]): [Buffer, Bencodable] => [Buffer.from(key), item])
    .toSorted(([a], [b]) => Buffer.compare(a, b));
  return [
    DICTIONARY,
    ...entries.flatMap(([key, item]) => [...stringOf(key), ...partsOf(item)]),
    END,
  ];
}

const LIST = Buffer.from('l');
const DICTIONARY = Buffer.from('d');
const END = Buffer.from('e');

const stringOf = (bytes: Uint8Array): Uint8Array[] => [Buffer.from(`${bytes.length}:`), bytes];

function numberOf(value: number): Buffer {
  if (!Number.isSafeInteger(value)) throw new RangeError(`${value} can't be bencoded`);
  return Buffer.from(`i${value}e`);
}

/** `Array.isArray` does not narrow readonly arrays. */
const isList = (value: Bencodable): value is readonly Bencodable[] => Array.isArray(value);
