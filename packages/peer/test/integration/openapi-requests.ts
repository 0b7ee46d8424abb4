/** Requests that an OpenAPI document says may be sent, and such as it says may not. */
import * as fc from 'fast-check';

/** As much of a JSON Schema as ours use. */
export interface Schema {
  readonly type?: string;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly anyOf?: readonly Schema[];
  readonly pattern?: string;
  readonly format?: string;
  readonly description?: string;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly items?: Schema;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
}

interface Answer {
  readonly content?: Readonly<Record<string, object>>;
  readonly headers?: Readonly<Record<string, object>>;
}

export interface Operation {
  readonly 'x-audience': string;
  readonly parameters: readonly {
    readonly name: string;
    readonly in: 'path' | 'query' | 'header';
    readonly required: boolean;
    readonly schema: Schema;
  }[];
  readonly requestBody?: { readonly content: Readonly<Record<string, { schema?: Schema }>> };
  readonly responses: Readonly<Record<string, Answer>>;
}

export interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
}

/** A request, and whether the document says that it may be sent. */
export interface Generated {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly type: string | undefined;
  readonly body: string | undefined;
  readonly isValid: boolean;
}

const MiB = 1024 * 1024;
const FUTURE_MS = 4_000_000_000_000;

/** Values that a schema takes. */
export function valid(schema: Schema): fc.Arbitrary<unknown> {
  if (schema.const !== undefined) return fc.constant(schema.const);
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum);
  if (schema.anyOf !== undefined) return fc.oneof(...schema.anyOf.map(valid));
  const { type, minimum = -MiB, maximum = MiB, items, properties } = schema;
  if (type === 'integer' || type === 'number')
    return fc.integer({ min: Math.max(minimum, -MiB), max: Math.min(maximum, MiB) });
  if (type === 'boolean') return fc.boolean();
  if (type === 'null') return fc.constant(null);
  if (type === 'array')
    return fc.array(valid(items ?? {}), {
      minLength: schema.minItems ?? 0,
      maxLength: Math.min(schema.maxItems ?? 3, (schema.minItems ?? 0) + 3),
    });
  if (type === 'object') {
    const shape = Object.entries(properties ?? {}).map(([name, each]) => [name, valid(each)]);
    const requiredKeys = [...(schema.required ?? [])];
    return fc.record(Object.fromEntries(shape) as Record<string, fc.Arbitrary<unknown>>, {
      requiredKeys,
    });
  }
  return validText(schema);
}

function validText({ format, pattern, minLength = 0, maxLength = 512 }: Schema) {
  if (format === 'date-time') return fc.constant(new Date(FUTURE_MS).toISOString());
  if (format === 'uri') return fc.constant('https://ipfs.example');
  const text =
    pattern === undefined
      ? fc.string({ minLength, maxLength: Math.min(maxLength, 60) })
      : fc.stringMatching(new RegExp(pattern, 'u'));
  // Longer, not drawn again: that might take for ever.
  return text.map((drawn) => drawn.padEnd(minLength, drawn || 'a').slice(0, maxLength));
}

/** Texts that a schema of a parameter does not take, as far as it says what it takes. */
export function invalid(schema: Schema): fc.Arbitrary<string> | undefined {
  const odd = ['', 'x', '-1', '1.5', '99999999999999999999', 'null', '[]', 'a b', '../', '\u0000'];
  const wrong = odd.filter((text) => !takes(schema, text));
  return wrong.length === 0 ? undefined : fc.constantFrom(...wrong);
}

function takes(schema: Schema, text: string): boolean {
  if (schema.const !== undefined) return schema.const === text;
  if (schema.type === 'array') return schema.items === undefined || takes(schema.items, text);
  if (schema.enum !== undefined) return schema.enum.includes(text);
  if (schema.anyOf !== undefined) return schema.anyOf.some((each) => takes(each, text));
  const {
    type,
    minimum = -Infinity,
    maximum = Infinity,
    minLength = 0,
    maxLength = Infinity,
  } = schema;
  if (type === 'integer')
    return text.trim() === '' || (/^-?\d+$/.test(text) && +text >= minimum && +text <= maximum);
  if (schema.format !== undefined) return false;
  const fits = text.length >= minLength && text.length <= maxLength;
  return fits && (schema.pattern === undefined || new RegExp(schema.pattern, 'u').test(text));
}

/** Requests of one operation: each parameter right, or one of them wrong. */
export function requestsOf(path: string, { parameters, requestBody }: Operation) {
  const bodies = Object.entries(requestBody?.content ?? {}).map(([type, { schema }]) =>
    fc.record({
      type: fc.constant<string | undefined>(type === '*/*' ? 'application/octet-stream' : type),
      body:
        schema === undefined ? fc.string() : valid(schema).map((value) => JSON.stringify(value)),
    }),
  );
  const none = fc.constant({ type: undefined, body: undefined });
  const values = Object.fromEntries(
    parameters.map(({ name, required, schema }) => {
      const right = valid(schema).map((value) => ({ texts: textsOf(value), isRight: true }));
      const wrong = invalid(schema)?.map((text) => ({ texts: [text], isRight: false }));
      const given = wrong === undefined ? right : fc.oneof({ weight: 4, arbitrary: right }, wrong);
      return [name, required ? given : fc.option(given, { nil: undefined })];
    }),
  ) as Record<string, fc.Arbitrary<{ texts: string[]; isRight: boolean } | undefined>>;
  const body = bodies.length === 0 ? none : fc.oneof(...bodies);
  return fc
    .record({ values: fc.record(values), body })
    .map(({ values: given, body: sent }): Generated => {
      const query = new URLSearchParams();
      const headers: Record<string, string> = {};
      let filled = path;
      for (const { name, in: place } of parameters) {
        const value = given[name];
        for (const text of value?.texts ?? []) {
          if (place === 'query') query.append(name, text);
          else if (place === 'header') headers[name] = inHeader(text);
          else filled = filled.replace(`{${name}}`, encodeURIComponent(text));
        }
      }
      const isValid = Object.values(given).every((value) => value?.isRight !== false);
      return {
        ...sent,
        headers,
        path: query.size === 0 ? filled : `${filled}?${query.toString()}`,
        isValid,
      };
    });
}

/** A parameter that is a list is given once for each of its values. */
const textsOf = (value: unknown): string[] =>
  (Array.isArray(value) ? (value as unknown[]) : [value]).map(String);

/** Node sends no control characters: what is wrong stays so without them. */
// eslint-disable-next-line no-control-regex
const inHeader = (text: string): string => text.replace(/[\u0000-\u001f\u007f-\uffff]/g, '?');
