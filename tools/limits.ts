/**
 * Every limit of the sources, for docs/limits.md: constants whose names say a maximum or a time-out, those
 * whose comments say what happens past them, and settings. Words come from the doc comment, up to
 * "Past it:" and from there on; what the comments don't say is in limits-notes.ts.
 */
import { readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { KiB, MiB } from '../packages/protocol/src/index.ts';
import { commentAbove, type Group, read, ROOT, type Setting, SETTINGS } from './catalogue.ts';
import { NOTES, OTHERS, SETTING_NOTES } from './limits-notes.ts';

export interface Limit {
  /** Of a constant or setting; empty for what has none. */
  readonly name: string;
  /** A number, an expression, or words; empty where the name says it all. */
  readonly bound: string;
  readonly setting?: Setting;
  /** Path from the root. */
  readonly source: string;
  readonly what: string;
  /** The effect past it; empty when none is stated. */
  readonly past: string;
}

/** Names of upper bounds: `…_MAX`, `…_MAX_BYTES`, `…_TIMEOUT_MS`. */
export const isBound = (name: string): boolean => /_MAX(?:_|$)|_TIMEOUT_MS$/.test(name);

const PAST = 'Past it:';
const CONSTANT = /^(?:export )?const ([A-Z][A-Z\d_]*)(?:: [^=\n]+)? =\s*([^;]+);/gm;
/** Of packages/protocol/src/bytes.ts. */
const UNITS: Readonly<Record<string, number>> = { KiB, MiB };
/** The form of an expression once all names are numbers. */
const ARITHMETIC = /^[\d\s+*/().e-]+$/;

/** By package and service; tests alone use the testkit. */
export const LIMITS: readonly Group<Limit>[] = ['packages', 'services'].flatMap((kind) =>
  readdirSync(join(ROOT, kind))
    .filter((name) => name !== 'testkit')
    .sort()
    .map((name) => limitsOf(name, `${kind}/${name}`))
    .filter(({ items }) => items.length > 0),
);

/** Notes that are not used: their constant is gone, or says it itself. */
export const UNUSED_NOTES: readonly string[] = unusedNotes();

function limitsOf(title: string, part: string): Group<Limit> {
  const sources = readdirSync(join(ROOT, part, 'src'), { recursive: true, encoding: 'utf8' })
    .filter((path) => /\.[jt]s$/.test(path)) // the console is JavaScript
    .sort()
    .map((path) => join(part, 'src', path));
  const items = sources.flatMap((source) => [
    ...constantsOf(source, NOTES[part] ?? {}),
    ...settingsIn(source),
    ...OTHERS.filter((other) => other.source === source).map((other) => ({ ...other, name: '' })),
  ]);
  return { title, source: part, items };
}

function constantsOf(source: string, notes: (typeof NOTES)[string]): Limit[] {
  const text = read(source);
  const constants = [...text.matchAll(CONSTANT)].map(([line, name = '', value = '']) => ({
    name,
    value,
    comment: commentAbove(text, line.split('\n', 1)[0] ?? ''),
    note: notes[`${basename(source)} ${name}`],
  }));
  const numbers = new Map<string, number>();
  for (const { name, value } of constants) {
    const number = valueOf(value, numbers);
    if (number !== undefined) numbers.set(name, number);
  }
  return constants
    .filter(
      ({ name, comment, note }) => isBound(name) || note !== undefined || comment.includes(PAST),
    )
    .map(({ name, value, comment, note }) => {
      const [what = '', past = ''] = comment.split(PAST).map((words) => words.trim());
      const own = past === '' ? note : { what, past };
      const bound = String(numbers.get(name) ?? value.replace(/\s+/g, ' '));
      return { name, bound, source, what: own?.what ?? what, past: own?.past ?? '' };
    });
}

function settingsIn(source: string): Limit[] {
  const group = SETTINGS.find((each) => each.source === source);
  return (group?.items ?? [])
    .filter(({ name }) => isBound(name) || name in SETTING_NOTES)
    .map((setting) => {
      const { name, comment } = setting;
      return { name, bound: '', setting, source, what: comment, past: SETTING_NOTES[name] ?? '' };
    });
}

/** The number that an expression over constants of its own file gives; undefined for what is none. */
function valueOf(expression: string, numbers: ReadonlyMap<string, number>): number | undefined {
  const plain = expression
    .replace(/\b[A-Z]\w*\b/g, (name) => String(UNITS[name] ?? numbers.get(name) ?? name))
    .replace(/(?<=\d)_(?=\d)/g, '');
  // Arithmetic alone, and from our own sources.
  // eslint-disable-next-line typescript/no-implied-eval, no-new-func
  return ARITHMETIC.test(plain) ? Number(new Function(`return ${plain}`)()) : undefined;
}

function unusedNotes(): string[] {
  const texts = new Map(LIMITS.map(({ source, items }) => [source, items]));
  const used = (part: string, key: string): boolean =>
    (texts.get(part) ?? []).some(
      ({ name, source, past }) =>
        `${basename(source)} ${name}` === key && past === NOTES[part]?.[key]?.past,
    );
  const settings = SETTINGS.flatMap(({ items }) => items).map(({ name }) => name);
  return [
    ...Object.entries(NOTES).flatMap(([part, notes]) =>
      Object.keys(notes)
        .filter((key) => !used(part, key))
        .map((key) => `${part} ${key}`),
    ),
    ...Object.keys(SETTING_NOTES).filter((name) => !settings.includes(name)),
  ];
}
