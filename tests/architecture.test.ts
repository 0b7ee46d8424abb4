/** The shape of the house: who may import whom, which rooms there are, what is pure, where the nine verbs are. */
import { readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from '@jest/globals';
import { SERVICES } from '@shoal/protocol';
import * as z from 'zod';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const SKIPPED = new Set(['node_modules', 'dist', 'coverage']);

const VERBS = [
  'upload',
  'chunk',
  'place',
  'replicate',
  'announce',
  'want',
  'fetch',
  'verify',
  'reassemble',
];

/** What each part may import of the others, in its sources. */
const EDGES: Readonly<Record<string, readonly string[]>> = {
  'packages/protocol': [],
  'packages/blocks': ['protocol'],
  'packages/swarm': ['protocol'],
  'packages/chassis': ['protocol', 'swarm'],
  'packages/sdk': ['protocol', 'blocks'],
  'packages/cli': ['protocol', 'blocks', 'sdk', 'chassis'],
  // The one part that imports services.
  'packages/peer': ['protocol', 'chassis', 'cli', ...SERVICES],
  'packages/testkit': ['protocol', 'blocks', 'sdk', 'chassis', 'cli'],
  ...Object.fromEntries(
    SERVICES.map((name) => [`services/${name}`, ['protocol', 'blocks', 'swarm', 'chassis']]),
  ),
  // Kubo's commands are a client of the other services.
  'services/gateway': ['protocol', 'blocks', 'chassis', 'sdk'],
};

/**
 * The rooms of each part, in the order in which they stand on each other: a file imports from its own room
 * and from those before it. `ground` names the files beside the rooms that every room may import; the
 * other files there (the wiring, the routes, the verb) may import all.
 */
const ROOMS: Readonly<Record<string, { ground: readonly string[]; rooms: readonly string[] }>> = {
  'packages/protocol': {
    ground: [
      'bounded',
      'bytes',
      'cid',
      'copy-proof',
      'file',
      'file-name',
      'have-map',
      'jobs',
      'member',
      'pin',
      'route',
    ],
    rooms: ['rights', 'problems', 'routes', 'http'],
  },
  'packages/blocks': { ground: ['cid', 'read-cid'], rooms: ['dag'] },
  'packages/swarm': { ground: [], rooms: [] },
  'packages/chassis': {
    ground: [],
    rooms: ['process', 'redis', 'shares', 'roster', 'tls', 'client', 'access', 'http', 'audit'],
  },
  'packages/sdk': { ground: [], rooms: [] },
  'packages/cli': {
    ground: ['command', 'context', 'failure', 'options'],
    rooms: [
      'terminal',
      'rights',
      'launch/child',
      'launch',
      'call',
      'files',
      'commands/peers',
      'commands/members',
      'commands/files',
    ],
  },
  'packages/peer': { ground: [], rooms: [] },
  'packages/testkit': { ground: [], rooms: [] },
  'services/chunker': {
    ground: ['config', 'metrics'],
    rooms: ['intake', 'directory', 'resumable', 'request', 'import', 'tus', 'kubo'],
  },
  'services/storage': {
    ground: ['config', 'metrics'],
    rooms: ['disk', 'index', 'store/state', 'store/operations', 'store', 'dags', 'serve', 'upkeep'],
  },
  'services/transfer': {
    ground: ['config', 'metrics'],
    rooms: [
      'peers',
      'fetch',
      'copies',
      'file',
      'settle',
      'leave',
      'answer',
      'describe',
      'ipfs/request',
      'ipfs/archive',
      'ipfs',
    ],
  },
  'services/discovery': {
    ground: ['config', 'metrics', 'wall-time'],
    rooms: [
      'network',
      'roster',
      'routing',
      'twins',
      'members',
      'state',
      'pins',
      'holders',
      'trust',
      'health',
    ],
  },
  'services/gateway': {
    ground: ['config', 'metrics'],
    rooms: ['https', 'proxy', 'kubo/rpc', 'kubo'],
  },
};
/** What development needs and no file imports. */
const TOOLS = new Set(['@types/node', 'typescript']);
/** What is loaded by another way than an import. */
const LOADED: Readonly<Record<string, readonly string[]>> = {
  // Native code, which stays outside of the program that is built of it and its services.
  'packages/peer': ['lmdb'],
};
/** A folder is read at a glance up to here. */
const FILES_PER_FOLDER_MAX = 15;

/** What would make a pure package depend on more than its arguments. */
const IMPURE = [
  /from 'node:(?!crypto')/,
  /from '(?:undici|fastify|ioredis|bullmq|lmdb|pino)'/,
  /\bDate\.now\b/,
  /\bnew Date\(\)/,
  /\bperformance\.now\b/,
  /\bMath\.random\b/,
  /\brandom(?:Bytes|Int|UUID)\b/,
  /\bprocess\./,
  /(?<![.\w])fetch\(/,
  /\bset(?:Timeout|Interval)\(/,
];

const Manifest = z.looseObject({
  dependencies: z.record(z.string(), z.string()).default({}),
  devDependencies: z.record(z.string(), z.string()).default({}),
});

const files = listFiles(ROOT);
const parts = files
  .filter((path) => /^(?:packages|services)\/[^/]+\/package\.json$/.test(path))
  .map((path) => dirname(path));

describe('dependencies', () => {
  it('has a rule for every package and service', () => {
    expect(parts.toSorted()).toEqual(Object.keys(EDGES).toSorted());
  });

  it.each(parts)('%s declares only the edges it may have', (part) => {
    const allowed = (EDGES[part] ?? []).map((name) => `@shoal/${name}`);
    const { dependencies } = readManifest(part);
    const own = Object.keys(dependencies).filter((name) => name.startsWith('@shoal/'));
    expect(own.filter((name) => !allowed.includes(name))).toEqual([]);
  });

  it.each(parts)('%s imports only what it declares, and no file of another part', (part) => {
    const declared = Object.keys(readManifest(part).dependencies);
    const wrong = sourcesOf(part).flatMap((path) =>
      importsOf(path)
        .filter((name) => !isOwn(name, path, part) && !declared.includes(packageOf(name)))
        .map((name) => `${path} imports ${name}`),
    );
    expect(wrong).toEqual([]);
  });

  it('keeps protocol on zod alone', () => {
    expect(Object.keys(readManifest('packages/protocol').dependencies)).toEqual(['zod']);
  });

  it('leaves testkit to tests', () => {
    const users = parts.flatMap((part) => sourcesOf(part)).filter((path) => isTestkitUser(path));
    expect(users).toEqual([]);
  });
});

describe('dependencies that are declared', () => {
  /** By its manifest's folder: what a workspace's code and scripts may count on. */
  const manifests = files
    .filter((path) => basename(path) === 'package.json' && !path.startsWith('tests/interop/'))
    .map((path) => dirname(path));

  it('are all used, each line of the catalogue too', () => {
    const all = manifests.flatMap((folder) => {
      const { dependencies, devDependencies } = readManifest(folder);
      return Object.entries({ ...dependencies, ...devDependencies });
    });
    const fromCatalogue = all.filter(([, version]) => version === 'catalog:').map(([name]) => name);
    const lines = [...read('pnpm-workspace.yaml').matchAll(/^ {2}'?([^':\s]+)'?: [\^\d]/gm)];
    expect(lines.length).toBeGreaterThan(0);
    const unused = lines
      .map(([, name = '']) => name)
      .filter((name) => !fromCatalogue.includes(name));
    expect(unused).toEqual([]);
  });

  it.each(parts)('%s imports each in its sources, or for tests in its tests', (part) => {
    const { dependencies, devDependencies } = readManifest(part);
    const importedBy = (folder: 'src' | 'test') =>
      new Set(codeOf(part, folder).flatMap((path) => importsOf(path).map(packageOf)));
    const [bySources, byTests] = [importedBy('src'), importedBy('test')];
    const unused = [
      ...Object.keys(dependencies).filter((name) => !bySources.has(name)),
      ...Object.keys(devDependencies).filter(
        (name) => !byTests.has(name) && !TOOLS.has(name) && !bySources.has(typedBy(name)),
      ),
    ];
    expect(unused.filter((name) => !(LOADED[part] ?? []).includes(name))).toEqual([]);
  });
});

describe('rooms', () => {
  it('are listed for every package and service', () => {
    expect(Object.keys(ROOMS).toSorted()).toEqual(parts.toSorted());
  });

  it.each(parts)('%s has the rooms that are listed, and no other', (part) => {
    const found = new Set(sourcesOf(part).map((path) => roomOf(path, part)));
    found.delete('');
    expect([...found].toSorted()).toEqual([...(ROOMS[part]?.rooms ?? [])].toSorted());
  });

  it.each(parts)('%s: a room imports from rooms that come before it', (part) => {
    const { ground = [], rooms = [] } = ROOMS[part] ?? {};
    const wrong = sourcesOf(part).flatMap((path) => {
      const room = roomOf(path, part);
      if (room === '') return [];
      return ownImportsOf(path, part)
        .filter((target) => {
          const other = roomOf(target, part);
          return other === ''
            ? !ground.includes(basename(target, '.ts'))
            : rooms.indexOf(other) > rooms.indexOf(room);
        })
        .map((target) => `${path} imports ${target}`);
    });
    expect(wrong).toEqual([]);
  });

  it.each(parts)('%s has no circle of imports, types counted', (part) => {
    const targets = new Map(sourcesOf(part).map((path) => [path, ownImportsOf(path, part)]));
    // What imports nothing that is left goes, again and again; what can't go stands in a circle, or above one.
    for (let before = Infinity; targets.size < before;) {
      before = targets.size;
      for (const [path, all] of targets)
        if (!all.some((target) => targets.has(target))) targets.delete(path);
    }
    expect([...targets.keys()]).toEqual([]);
  });

  it(`has at most ${FILES_PER_FOLDER_MAX} files in a folder of sources or tests`, () => {
    const counts = new Map<string, number>();
    for (const path of files.filter((each) =>
      /^(?:packages|services)\/[^/]+\/(?:src|test)\//.test(each),
    ))
      counts.set(dirname(path), (counts.get(dirname(path)) ?? 0) + 1);
    expect([...counts].filter(([, count]) => count > FILES_PER_FOLDER_MAX)).toEqual([]);
  });
});

describe('purity', () => {
  it.each(['packages/blocks', 'packages/swarm'])('%s has no I/O, clock or chance', (part) => {
    const wrong = sourcesOf(part).flatMap((path) => {
      const code = withoutComments(read(path));
      return IMPURE.filter((pattern) => pattern.test(code)).map((found) => `${path}: ${found}`);
    });
    expect(wrong).toEqual([]);
  });
});

describe('the nine verbs', () => {
  it.each(VERBS)('%s is one file', (verb) => {
    const named = files.filter((path) => basename(path) === `${verb}.ts`);
    expect(named).toHaveLength(1);
  });
});

/** The package whose types it has. */
const typedBy = (name: string): string => name.replace(/^@types\//, '');

function isTestkitUser(path: string): boolean {
  return !path.startsWith('packages/testkit/') && importsOf(path).includes('@shoal/testkit');
}

function isOwn(name: string, path: string, part: string): boolean {
  if (name.startsWith('node:')) return true;
  if (!name.startsWith('.')) return false;
  if (join(dirname(path), name) === join(part, 'package.json')) return true; // its version
  return !relative(join(part, 'src'), join(dirname(path), name)).startsWith('..');
}

/** The folder below `src`; empty for what stands beside the rooms. */
function roomOf(path: string, part: string): string {
  return relative(join(part, 'src'), dirname(path));
}

/** The sources of its own part that a file imports, types counted. */
function ownImportsOf(path: string, part: string): string[] {
  return importsOf(path)
    .filter((name) => name.startsWith('.'))
    .map((name) => join(dirname(path), name))
    .filter((target) => target.startsWith(`${part}/src/`));
}

/** `@scope/name/deep` and `name/deep` without what is deep. */
function packageOf(name: string): string {
  return name.split('/', name.startsWith('@') ? 2 : 1).join('/');
}

function importsOf(path: string): string[] {
  const code = withoutComments(read(path));
  const found = code.matchAll(
    /(?:^|\n)\s*(?:import|export)\b[^;'"]*?\bfrom\s*'([^']+)'|(?<![/'])\bimport\(?\s*'([^']+)'/g,
  );
  return [...found].map(([, from, bare]) => from ?? bare ?? '');
}

function withoutComments(code: string): string {
  return code.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|[^:'"`])\/\/.*$/gm, '$1');
}

/** Of the sources of a part, or of its tests with what stands beside them. */
function codeOf(part: string, folder: 'src' | 'test'): string[] {
  return files.filter((path) => path.startsWith(`${part}/${folder}/`) && path.endsWith('.ts'));
}

function sourcesOf(part: string): string[] {
  return files.filter((path) => path.startsWith(`${part}/src/`) && path.endsWith('.ts'));
}

function readManifest(part: string): z.infer<typeof Manifest> {
  return Manifest.parse(JSON.parse(read(join(part, 'package.json'))));
}

function read(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8');
}

function listFiles(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    if (SKIPPED.has(entry.name) || entry.name.startsWith('.')) return [];
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return listFiles(path);
    return [relative(ROOT, path)];
  });
}
