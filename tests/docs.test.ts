/** The pages for readers: generated ones are current, links lead somewhere, names keep their rules. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import * as problems from '../packages/protocol/src/problems/index.ts';
import { METRICS, PROBLEM_ENTRIES, ROOT, SETTINGS } from '../tools/catalogue.ts';
import { isBound, LIMITS, UNUSED_NOTES } from '../tools/limits.ts';
import { renderPages } from '../tools/write-docs.ts';

const VERBS = 9;
const PAGES = ['README.md', 'AGENTS.md', 'CONTRIBUTING.md', ...listFiles('docs', '.md')];
const metrics = METRICS.flatMap(({ items }) => items);

describe('generated pages', () => {
  it.each([...renderPages()])('%s is what `pnpm run docs` writes', (path, text) => {
    expect(read(path)).toBe(text);
  });

  it('documents every problem that protocol exports, and when it is thrown', () => {
    const classes = Object.entries(problems).filter(([, value]) => isProblemClass(value));
    const { items } = PROBLEM_ENTRIES;
    expect(items.map(({ name }) => name).toSorted()).toEqual(
      classes.map(([name]) => name).toSorted(),
    );
    expect(items.filter(({ when }) => when === '')).toEqual([]);
    expect(new Set(items.map(({ type }) => type)).size).toBe(items.length);
  });

  it('has a group of settings and of metrics for every service', () => {
    const services = ['every service', ...readdirSync(join(ROOT, 'services'))].toSorted();
    expect(SETTINGS.map(({ title }) => title).toSorted()).toEqual(services);
    expect(METRICS.map(({ title }) => title).toSorted()).toEqual(services);
  });

  it('finds a comment on every setting', () => {
    const settings = SETTINGS.flatMap(({ items }) => items);
    expect(settings.filter(({ comment }) => comment === '')).toEqual([]);
  });
});

describe('settings', () => {
  it('are defined once', () => {
    const names = SETTINGS.flatMap(({ items }) => items).map(({ name }) => name);
    expect(names.filter((name, index) => names.indexOf(name) !== index)).toEqual([]);
  });
});

describe('metrics', () => {
  it('are named shoal_<service>_<what>', () => {
    const wrong = METRICS.flatMap(({ title, items }) => {
      const service = title === 'every service' ? '(?:http|audit)' : title;
      const shape = new RegExp(`^shoal_${service}_[a-z_]+$`);
      return items.filter(({ name }) => !shape.test(name));
    });
    expect(wrong).toEqual([]);
  });

  it('end in _total when they are counters, and only then', () => {
    const wrong = metrics.filter(
      ({ name, type }) => name.endsWith('_total') !== (type === 'counter'),
    );
    expect(wrong).toEqual([]);
  });

  it('measure time in seconds and sizes in bytes', () => {
    const isTime = (name: string) => /_(?:duration|time|latency|delay|age)(?:_|$)/.test(name);
    const wrong = metrics.filter(
      ({ name }) =>
        /_(?:ms|milliseconds|minutes|[kmg]i?b|kilobytes|megabytes)(?:_|$)/.test(name) ||
        (isTime(name) && !/_seconds(?:_total)?$/.test(name)) ||
        (name.includes('bytes') && !/_bytes(?:_total)?$/.test(name)),
    );
    expect(wrong).toEqual([]);
  });

  it('say what they are', () => {
    expect(metrics.filter(({ help }) => !help.endsWith('.'))).toEqual([]);
  });
});

describe('recipes', () => {
  const recipes = PAGES.flatMap((page) =>
    [...read(page).matchAll(/^ *```sh\n(.*?)^ *```$/gms)].map(([, text = '']) => ({ page, text })),
  );

  it('apply a profile of Kubo before they set what it would empty', () => {
    const wrong = recipes.filter(({ text }) =>
      /^ipfs config (?!profile).*^ipfs config profile/ms.test(text),
    );
    expect(recipes.some(({ text }) => text.includes('ipfs config profile apply'))).toBe(true);
    expect(wrong).toEqual([]);
  });

  it('write no secret that others may read for a moment, before it is closed', () => {
    const making = recipes.filter(({ text }) => /openssl rand.*[>|]/.test(text));
    expect(making.length).toBeGreaterThan(0);
    expect(making.filter(({ text }) => !/umask 077;? .*openssl rand/.test(text))).toEqual([]);
  });
});

/** Words that an engineer would not use, and what to write. Decisions are left as they were written. */
const REFUSED_WORDS: readonly (readonly [RegExp, string])[] = [
  [/\bfor ever\b/, 'forever, without end'],
  [/\bcan not\b/, "can't, cannot"],
  [/\bgone on with\b/, 'resumed'],
  [/\bin vain\b/, 'without effect, or what failed'],
  [/\bat one time\b/, 'at once'],
  [/\bnone without\b/, 'say what there is'],
  [
    /\b(?:is|are|be|was|were) told\b/,
    'hears, is notified, is called with; for "tell apart": recognise',
  ],
  [/\b(?:is|are) to be\b/, 'must, will; or the verb: "a file to send"'],
  [/\bso many\b/, 'this many, that many'],
  [/\bwhoever\b/i, 'every client, the holder, the caller'],
  [/\b[Ww]ithout[.,;](?![a-z])/, 'say what there is then: "by default never"'],
  [
    /\b(?:stands?|stood|lies?) (?:at|before|behind|below|beside|there|deeper|where|on|with|in (?:a|an|the|it|its|their|one|many))\b/,
    'is, occurs',
  ],
  [/(?:^|[.:] |\/\*\* |\/\/ |^ *\* )Who [a-z]/, 'name them: "members", "clients that …"'],
  [
    /(?:^ *\* |\/\*\* |\/\/ |\. )What [a-z][^?]*$/,
    'say what it is: "the entries of …", "bytes that …"',
  ],
  [/(?:^ *\* |\/\*\* |\. )Told\b/, 'called with'],
];

describe('English', () => {
  const texts = [
    ...PAGES.filter((path) => !path.startsWith('docs/decisions/')),
    ...['packages', 'services'].flatMap((kind) =>
      readdirSync(join(ROOT, kind)).flatMap((name) => listFiles(`${kind}/${name}/src`, '')),
    ),
    ...listFiles('tools', ''),
  ].filter((path) => /\.[a-z]+$/.test(path)); // no folders

  it.each(REFUSED_WORDS)('has no %s: %s', (pattern) => {
    const found = texts.flatMap((path) =>
      read(path)
        .split('\n')
        .flatMap((line, at) => (pattern.test(line) ? [`${path}:${at + 1}: ${line.trim()}`] : [])),
    );
    expect(found).toEqual([]);
  });
});

describe('limits', () => {
  const rows = [...read('docs/limits.md').matchAll(/^\|.*\]\(\.\.\/([^)]+)\) +\|.*$/gm)].map(
    ([text, source = '']) => ({
      source,
      names: [...text.matchAll(/`([A-Z][A-Z\d]*(?:_[A-Z\d]+)+)`/g)].map(([, name = '']) => name),
    }),
  );
  const listed = rows.flatMap(({ source, names }) => names.map((name) => `${source} ${name}`));

  it('has every maximum and time-out that the sources define', () => {
    const settings = SETTINGS.flatMap(({ source, items }) =>
      items.filter(({ name }) => isBound(name)).map(({ name }) => ({ source, name })),
    );
    const constants = listSources().flatMap((source) =>
      [...read(source).matchAll(/^(?:export )?const ([A-Z][A-Z\d_]*) *=/gm)]
        .map(([, name = '']) => ({ source, name }))
        .filter(({ name }) => isBound(name)),
    );
    const text = listed.join('\n');
    const missing = [
      ...constants.filter(({ source, name }) => !listed.includes(`${source} ${name}`)),
      ...settings.filter(({ name }) => !text.includes(name)),
    ];
    expect(missing).toEqual([]);
  });

  it('says of each what happens past it', () => {
    const silent = LIMITS.flatMap(({ items }) => items.filter(({ past }) => past === ''));
    expect(silent.map(({ source, name }) => `${source} ${name}`)).toEqual([]);
  });

  it('keeps no note whose constant is gone, or says it itself', () => {
    expect(UNUSED_NOTES).toEqual([]);
  });

  it('names nothing that the file beside it does not know', () => {
    const gone = rows.flatMap(({ source, names }) => {
      const code = read(source);
      return names.filter((name) => !code.includes(name)).map((name) => `${source} ${name}`);
    });
    expect(gone).toEqual([]);
  });
});

describe('links', () => {
  it.each(PAGES)('of %s lead to files and headings that exist', (path) => {
    const broken = linksOf(path).filter((link) => !leadsSomewhere(link, path));
    expect(broken).toEqual([]);
  });

  it('of the README lead to every page of docs', () => {
    const linked = linksOf('README.md');
    const pages = PAGES.filter((path) => dirname(path) === 'docs');
    expect(pages.filter((path) => !linked.includes(path))).toEqual([]);
  });

  it("of the README's table of verbs lead to one file each, named after the verb", () => {
    const rows = [...read('README.md').matchAll(/^\| [①-⑨] +\| (\w+) .*\]\(([^)]+)\)/gm)];
    const targets = rows.map(([, verb, target = '']) => ({ verb, target }));
    expect(targets).toHaveLength(VERBS);
    expect(targets.filter(({ target }) => !existsSync(join(ROOT, target)))).toEqual([]);
    expect(targets.filter(({ verb, target }) => !target.endsWith(`/${verb}.ts`))).toEqual([]);
  });
});

/** Sources of what runs in production. */
function listSources(): string[] {
  return ['packages', 'services'].flatMap((kind) =>
    readdirSync(join(ROOT, kind))
      .filter((part) => part !== 'testkit')
      .map((part) => join(kind, part, 'src'))
      .flatMap((folder) => listFiles(folder, '.ts')),
  );
}

function isProblemClass(value: unknown): boolean {
  return typeof value === 'function' && 'type' in value && 'status' in value;
}

/** Targets of links to our own files and headings; what is code is no link. */
function linksOf(path: string): string[] {
  const prose = read(path)
    .replace(/^```[^]*?^```/gm, '')
    .replace(/`[^`\n]*`/g, '');
  return [...prose.matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, target = '']) => target)
    .filter((target) => !/^[a-z]+:/.test(target));
}

function leadsSomewhere(link: string, from: string): boolean {
  const [target = '', heading] = link.split('#');
  const path = target === '' ? from : join(dirname(from), target);
  if (relative(ROOT, join(ROOT, path)).startsWith('..') || !existsSync(join(ROOT, path)))
    return false;
  return heading === undefined || headingsOf(path).includes(heading);
}

/** The anchors of a page's headings, as GitHub makes them. */
function headingsOf(path: string): string[] {
  return [...read(path).matchAll(/^#+ (.+)$/gm)].map(([, text = '']) =>
    text
      .toLowerCase()
      .replace(/[^\w\s-]/g, '')
      .replace(/\s/g, '-'),
  );
}

function listFiles(folder: string, ending: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith(ending))
    .map((path) => join(folder, path))
    .toSorted();
}

function read(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8');
}
