/**
 * `pnpm run docs`: writes the reference pages that only the sources can keep true. They come out as
 * the formatter would leave them; `tests/docs.test.ts` fails when one is stale.
 */
import { writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  METRICS,
  PROBLEM_ENTRIES,
  read,
  ROOT,
  type Rule,
  type Setting,
  SETTINGS,
} from './catalogue.ts';
import { type Limit, LIMITS } from './limits.ts';

const NOTE = '<!-- Written by `pnpm run docs`: change the sources, not this page. -->';
/** In docs/limits.md, whose first section is written by hand. */
const NOTE_BELOW =
  '<!-- From here on written by `pnpm run docs`: change the sources, not this page. -->';
const BYTE_UNITS: readonly Unit[] = [
  [1024 ** 3, 'GiB'],
  [1024 ** 2, 'MiB'],
  [1024, 'KiB'],
];
const TIME_UNITS: readonly Unit[] = [
  [86_400_000, 'd'],
  [3_600_000, 'h'],
  [60_000, 'min'],
  [1000, 's'],
];
type Unit = readonly [size: number, name: string];

/** All generated pages, by their path from the root of the repository. */
export function renderPages(): ReadonlyMap<string, string> {
  return new Map([
    ['docs/problems.md', renderProblems()],
    ['docs/configuration.md', renderConfiguration()],
    ['docs/metrics.md', renderMetrics()],
    ['docs/limits.md', renderLimits()],
    ['.env.example', renderEnvironment()],
  ]);
}

function renderProblems(): string {
  const { source, items } = PROBLEM_ENTRIES;
  return page('Problems', [
    `Every answer of 400 or above is \`application/problem+json\` (RFC 9457). \`type\` never changes: switch
on it and not on \`detail\`, which is for people. \`instance\` is \`urn:request:<id>\`: the log has the cause
under the same id. Extra fields are beside these, as named below; \`detail\` has them in braces.
The catalogue is [${source}](../${source}).`,
    table(
      ['type', 'title', 'status', 'when', 'fields', 'detail'],
      items.map(({ type, title, status, fields, detail, when }) => {
        const named = fields.map((field) => `${code(field.name)} ${field.type}`);
        return [code(type), title, String(status), when, named.join('; ') || '–', code(detail)];
      }),
    ),
  ]);
}

function renderConfiguration(): string {
  return page('Configuration', [
    `Each service reads its environment once, when it starts. A mistake ends it with exit code 78 and one
message that names every setting that is wrong. Those marked _launcher_ are worked out by \`shoal peer\`
and \`shoal swarm\` from their own options; the others can be set in the environment of these two and
reach every service from there. [.env.example](../.env.example) says the same in its own form.`,
    ...SETTINGS.flatMap(({ title, source, items }) => [
      heading(title, source),
      table(
        ['setting', 'default', 'bounds', 'what it is'],
        items.map((setting) => [
          code(setting.name),
          defaultOf(setting),
          boundsOf(setting),
          setting.comment,
        ]),
      ),
    ]),
  ]);
}

function renderMetrics(): string {
  return page('Metrics', [
    `Each service answers \`/metrics\` in the Prometheus format. Every figure also has the label \`service\`,
and Node's own (\`process_*\`, \`nodejs_*\`) are beside ours. Labels are small closed sets: never a CID
or a path, and a peer id only in \`peer\`, of at most 16 members that failed to prove what they hold.`,
    ...METRICS.flatMap(({ title, source, items }) => [
      heading(title, source),
      table(
        ['metric', 'type', 'labels', 'what it is'],
        items.map(({ name, type, labels, help }) => [
          code(name),
          type,
          labels.map(code).join(', ') || '–',
          help,
        ]),
      ),
    ]),
  ]);
}

function renderLimits(): string {
  const [byHand = ''] = read('docs/limits.md').split(NOTE_BELOW);
  const sections = LIMITS.flatMap(({ title, source, items }) => [
    heading(title, source),
    table(
      ['what', 'bound', 'where', 'what happens past it'],
      items.map((limit) => [
        limit.what.replace(/\.$/, ''),
        limitOf(limit),
        `[${basename(limit.source)}](../${limit.source})`,
        limit.past.replace(/\.$/, ''),
      ]),
    ),
  ]);
  return `${[byHand.trim(), NOTE_BELOW, ...sections].join('\n\n')}\n`;
}

function limitOf({ name, bound, setting }: Limit): string {
  if (setting !== undefined) return `${code(name)}, by default ${defaultOf(setting)}`;
  if (name === '') return bound;
  return /^\d+$/.test(bound)
    ? `${code(name)}, ${bound}${inUnits(name, bound)}`
    : `${code(name)}, ${code(bound)}`;
}

function renderEnvironment(): string {
  const groups = SETTINGS.map(({ title, items }) => {
    const settings = items.map((setting) => {
      const { name, comment, fallback = '', isSetByLauncher } = setting;
      const bounds = boundsOf(setting).replaceAll('`', '');
      const note = isSetByLauncher ? '; set by the launcher' : '';
      return `# ${comment}\n# Takes ${bounds}${note}.\n# ${name}=${fallback}\n`;
    });
    return [`# ── ${title} ──\n`, ...settings].join('\n');
  });
  return `# Written by \`pnpm run docs\`. Every setting with its default. Those that the launcher (\`shoal peer\`,
# \`shoal swarm\`) sets are only for services that are started without it; the rest may be exported to
# the launcher too. Nothing reads this file by itself.

${groups.join('\n')}`;
}

function defaultOf({ name, fallback, isRequired, isSetByLauncher }: Setting): string {
  const own = isRequired
    ? 'required'
    : fallback
      ? code(fallback) + inUnits(name, fallback)
      : 'none';
  return isSetByLauncher ? `_launcher_, else ${own}` : own;
}

function boundsOf({ name, rule }: Setting): string {
  if (rule.enum !== undefined) return rule.enum.map(code).join(', ');
  if (rule.type === 'boolean') return '`true` or `false`';
  if (rule.type === 'integer') return rangeOf(name, rule);
  if (rule.format === 'uri') return 'an http or https origin';
  if (name === 'PEER_ID') return 'a peer id';
  if (name === 'WRITE_TOKEN') return '16 to 256 printable characters';
  if (rule.maxLength === undefined) return 'text, not empty';
  return `text of up to ${rule.maxLength} characters`;
}

function rangeOf(name: string, rule: Rule): string {
  const { minimum = (rule.exclusiveMinimum ?? 0) + 1, maximum = Infinity } = rule;
  const least = `${minimum}${inUnits(name, minimum)}`;
  // The schema's own bound on integers is nobody's choice.
  if (maximum >= Number.MAX_SAFE_INTEGER) return `${least} or more`;
  return `${least} to ${maximum}${inUnits(name, maximum)}`;
}

/** A number of bytes or milliseconds in a unit that people read, when it is a whole one. */
function inUnits(name: string, value: number | string): string {
  const units = name.endsWith('_BYTES') ? BYTE_UNITS : name.endsWith('_MS') ? TIME_UNITS : [];
  const unit = units.find(([size]) => Number(value) > 0 && Number(value) % size === 0);
  return unit === undefined ? '' : ` (${Number(value) / unit[0]} ${unit[1]})`;
}

function heading(title: string, source: string): string {
  return `## ${title[0]?.toUpperCase()}${title.slice(1)}\n\n[${source}](../${source})`;
}

function page(title: string, parts: readonly string[]): string {
  return `${[`# ${title}`, NOTE, ...parts].join('\n\n')}\n`;
}

/** A table with columns as wide as their widest cell. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const cells = [head, ...rows].map((row) => row.map((cell) => cell.replaceAll('|', '\\|')));
  const widths = head.map((_, column) =>
    Math.max(3, ...cells.map((row) => row[column]?.length ?? 0)),
  );
  const line = (row: readonly string[]) =>
    `| ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`;
  const rule = line(widths.map((width) => '-'.repeat(width)));
  const [first = '', ...others] = cells.map(line);
  return [first, rule, ...others].join('\n');
}

function code(text: string): string {
  return `\`${text}\``;
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  for (const [path, text] of renderPages()) writeFileSync(join(ROOT, path), text);
