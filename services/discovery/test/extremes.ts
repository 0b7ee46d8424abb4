/**
 * Extreme values for every field of a message: what a peer that errs or lies could put there. A sample
 * says which fields there are; the schema says whether the sample has them all.
 */
import * as z from 'zod';

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type Path = readonly (string | number)[];

const LONG_CHARS = 100_000;
/** Written as a list so deep that whatever walks it by calling itself runs out of stack. */
const DEEP = '(a deep list)';
const DEPTH = 50_000;

/** Values that no field of ours takes, whatever its type. */
export const NEVER: Readonly<Record<string, Json>> = {
  'the largest whole number': Number.MAX_SAFE_INTEGER,
  'the largest number': Number.MAX_VALUE,
  'a number below zero': -Number.MAX_SAFE_INTEGER,
  'a long text': 'x'.repeat(LONG_CHARS),
  'a deep list': DEEP,
  'an object': { toString: 'x', __proto__: 'x' },
};

/** Values that some fields take. What is done with them has bounds all the same. */
export const SOMETIMES: Readonly<Record<string, Json>> = {
  nothing: null,
  zero: 0,
  'a fraction': 0.5,
  'thirty-two bits': 2 ** 32,
  'a fitting number': 65_535,
  true: true,
  'an empty text': '',
  'an escape sequence': '\u001b]0;x\u0007\u001b[2J',
  'a zero byte': '\u0000',
  'half a character': '\ud800',
  'other letters': 'http://exämple.ü:80/\u202e',
  'a path': '/../..',
  'an empty list': [],
  'a list': Array.from({ length: 100 }, () => 'x'),
};

/** A message as it is sent. */
export function textOf(message: Json): string {
  const deep = '['.repeat(DEPTH) + ']'.repeat(DEPTH);
  return JSON.stringify(message).replaceAll(JSON.stringify(DEEP), () => deep);
}

/** Paths of all fields of a sample: objects and lists too, of a list the first item. */
export function pathsOf(sample: Json, at: Path = []): Path[] {
  if (typeof sample !== 'object' || sample === null) return [at];
  const parts = Array.isArray(sample)
    ? sample.slice(0, 1).map((item): [number, Json] => [0, item])
    : Object.entries(sample);
  const below = parts.flatMap(([key, value]) => pathsOf(value, [...at, key]));
  return at.length === 0 ? below : [at, ...below];
}

/** The sample with another value at this place; undefined takes the field away. */
export function replaced(sample: Json, [key, ...rest]: Path, value: Json | undefined): Json {
  if (key === undefined) return value ?? null;
  if (Array.isArray(sample))
    return sample.map((item, index) => (index === key ? replaced(item, rest, value) : item));
  const fields: { [name: string]: Json } = { ...(sample as { [name: string]: Json }) };
  if (rest.length === 0 && value === undefined) delete fields[key];
  else fields[key] = replaced(fields[key] ?? null, rest, value);
  return fields;
}

/** A part of a JSON schema, as zod writes it. */
interface Part {
  readonly type?: string;
  readonly properties?: Readonly<Record<string, Part>>;
  readonly items?: Part;
  readonly anyOf?: readonly Part[];
  readonly oneOf?: readonly Part[];
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly pattern?: string;
  readonly allOf?: readonly Part[];
  readonly maxLength?: number;
  readonly maximum?: number;
  readonly maxItems?: number;
}

/** Fields of a schema that have no bound, as dotted paths. */
export function unboundedIn(schema: z.ZodType): string[] {
  const json = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any', reused: 'inline' });
  return unbounded(json as Part, '');
}

/** Names of all fields of a schema, as dotted paths without the places in lists. */
export function fieldsOf(schema: z.ZodType): string[] {
  const json = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any', reused: 'inline' });
  return [...new Set(fields(json as Part, ''))];
}

function unbounded(part: Part, path: string): string[] {
  const choices = part.anyOf ?? part.oneOf;
  if (choices !== undefined) return choices.flatMap((each) => unbounded(each, path));
  if (part.const !== undefined || part.enum !== undefined) return [];
  const below = Object.entries(part.properties ?? {}).flatMap(([name, each]) =>
    unbounded(each, `${path}.${name}`),
  );
  const { type, maxItems, maximum = Infinity, maxLength } = part;
  if (type === 'array')
    return [
      ...(maxItems === undefined ? [`${path} has any length`] : []),
      ...unbounded(part.items ?? {}, `${path}[]`),
    ];
  if (type === 'integer' || type === 'number')
    return maximum < Number.MAX_SAFE_INTEGER ? [] : [`${path} is any number`];
  if (type === 'string')
    return maxLength === undefined && !isExact(part) ? [`${path} is any text`] : [];
  return below;
}

/** Whether a pattern allows texts of one length only. */
function isExact({ pattern, allOf = [] }: Part): boolean {
  const patterns = [pattern, ...allOf.map((each) => each.pattern)];
  return patterns.some(
    (each) => each !== undefined && /^\^.*\$$/.test(each) && !/[*+]|\{\d+,\}/.test(each),
  );
}

function fields(part: Part, path: string): string[] {
  const choices = part.anyOf ?? part.oneOf;
  if (choices !== undefined) return choices.flatMap((each) => fields(each, path));
  if (part.type === 'array') return [path, ...fields(part.items ?? {}, path)];
  const names = Object.entries(part.properties ?? {});
  if (names.length === 0) return [path];
  return names.flatMap(([name, each]) => fields(each, path === '' ? name : `${path}.${name}`));
}
