/**
 * Builds the program of the package in whose folder it runs: `src/main.ts` and all that it imports, in one
 * file, `dist/program.cjs`. A start then reads one file instead of some thousand, and strips no types.
 * `dist/main.cjs` loads it with Node's compile cache: from the second start on nothing is compiled that was
 * compiled when the first one became ready.
 *
 * Both are CommonJS: a module that imports `node:http` has Node evaluate every lazy part of it, its own
 * fetch among them, to list what it exports. Sources stay what developers run: the build is what `npm start`
 * and the tests' peers run. Rejected: docs/decisions/0023.
 */
import { writeFileSync } from 'node:fs';
import { relative, sep } from 'node:path';
import { build } from 'esbuild';

/** Native code, found at run time below the package's own node_modules. */
const NATIVE = ['lmdb', 'msgpackr-extract'];

/** Loaded when something of it is used. */
const LATE = Symbol('late');
/**
 * Packages whose index loads far more than we import: what we use of them, by the file that it is in. A name
 * that is missing here fails the build.
 */
const PARTS = {
  bullmq: {
    Queue: ['dist/cjs/classes/queue.js', 'Queue'],
    QueueEvents: ['dist/cjs/classes/queue-events.js', 'QueueEvents'],
    UnrecoverableError: ['dist/cjs/classes/errors/unrecoverable-error.js', 'UnrecoverableError'],
    Worker: ['dist/cjs/classes/worker.js', 'Worker'],
  },
  ioredis: { Redis: ['built/Redis.js', 'default'] },
  'prom-client': {
    Counter: ['lib/counter.js'],
    Gauge: ['lib/gauge.js'],
    Histogram: ['lib/histogram.js'],
    Registry: ['lib/registry.js'],
    collectDefaultMetrics: ['lib/defaultMetrics.js', LATE],
  },
  undici: { Agent: ['lib/dispatcher/agent.js'], Pool: ['lib/dispatcher/pool.js'] },
};

/** Side effects of such a package's index. */
const INDEX_EFFECTS = {
  undici: `Object.assign(require('ROOT/lib/dispatcher/dispatcher.js').prototype, require('ROOT/lib/api/index.js'));`,
};

/**
 * Modules that others load at once and use seldom or never: loaded when something of them is used. By the
 * importing file, below its package.
 */
const SELDOM_USED = {
  '@fastify/multipart/index.js': ['@fastify/busboy'],
  'bullmq/dist/cjs/classes/queue.js': ['./job-scheduler'],
  'bullmq/dist/cjs/classes/redis-connection.js': ['./node-redis-client', './bun-redis-client'],
  'bullmq/dist/cjs/classes/worker.js': ['./child-pool', './job-scheduler', './sandbox'],
  'bullmq/dist/cjs/utils/index.js': ['semver'],
  'fastify/lib/plugin-utils.js': ['semver'],
  'pino/lib/transport.js': ['thread-stream'],
  'undici/lib/dispatcher/client.js': ['./client-h2.js'],
};

/** Of those, what this program has. */
const foundLate = new Set();

const PACKAGE_FILE = /.*[/\\]node_modules[/\\]((?:@[^/\\]+[/\\])?[^/\\]+)[/\\]/;

/** @type {import('esbuild').Plugin} */
const parts = {
  name: 'parts',
  setup(plugin) {
    const filter = new RegExp(`^(?:${Object.keys(PARTS).join('|')})$`);
    plugin.onResolve({ filter }, async ({ path: name, importer, kind, resolveDir }) => {
      if (kind !== 'import-statement' || PACKAGE_FILE.test(importer)) return undefined;
      const { path, errors } = await plugin.resolve(name, { resolveDir, kind: 'require-call' });
      if (errors.length > 0) return { errors };
      const [root] = PACKAGE_FILE.exec(path);
      return { path: name, namespace: 'parts', pluginData: { root: root.slice(0, -1) } };
    });
    plugin.onLoad({ filter: /.*/, namespace: 'parts' }, ({ path: name, pluginData: { root } }) => {
      const lines = Object.entries(PARTS[name]).map(([exported, [file, how]]) => {
        const path = `${root}/${file}`;
        const module = `require(${JSON.stringify(path)})`;
        const value =
          how === LATE ? lateValue(path) : how === undefined ? module : `${module}.${how}`;
        return `export const ${exported} = ${value};`;
      });
      const effects = (INDEX_EFFECTS[name] ?? '').replaceAll('ROOT', root);
      return { contents: `${effects}\n${lines.join('\n')}`, resolveDir: root };
    });
  },
};

/** @type {import('esbuild').Plugin} */
const late = {
  name: 'late',
  setup(plugin) {
    plugin.onResolve(
      { filter: /.*/ },
      async ({ path: asked, importer, kind, resolveDir, pluginData }) => {
        if (kind !== 'require-call' || pluginData === 'late') return undefined;
        const [root, name] = PACKAGE_FILE.exec(importer) ?? [];
        if (root === undefined) return undefined;
        const file = `${name}/${importer.slice(root.length)}`.replaceAll(sep, '/');
        if (SELDOM_USED[file]?.includes(asked) !== true) return undefined;
        foundLate.add(`${file} ${asked}`);
        const { path, errors } = await plugin.resolve(asked, {
          resolveDir,
          kind,
          pluginData: 'late',
        });
        return errors.length > 0 ? { errors } : { path, namespace: 'late' };
      },
    );
    plugin.onLoad({ filter: /.*/, namespace: 'late' }, ({ path }) => ({
      contents: `module.exports = ${lateValue(path)};`,
      resolveDir: '/',
    }));
  },
};

/** Stands for a module until something of it is used. It can't be listed: its user would copy nothing. */
function lateValue(path) {
  const refusal = `${relative(process.cwd(), path)} is loaded late: it can't be listed (tools/build.mjs)`;
  return `(() => {
  const load = () => require(${JSON.stringify(path)});
  const refuse = () => { throw new Error(${JSON.stringify(refusal)}); };
  return new Proxy(function () {}, {
    get: (_, key) => load()[key],
    has: (_, key) => key in load(),
    apply: (_, self, args) => Reflect.apply(load(), self, args),
    construct: (_, args) => Reflect.construct(load(), args),
    ownKeys: refuse,
    getOwnPropertyDescriptor: refuse,
  });
})()`;
}

const { metafile } = await build({
  metafile: true,
  entryPoints: ['src/main.ts'],
  outfile: 'dist/program.cjs',
  bundle: true,
  platform: 'node',
  format: 'cjs',
  target: 'node24',
  external: NATIVE,
  plugins: [parts, late],
  define: {
    'import.meta.dirname': '__dirname',
    'import.meta.filename': '__filename',
    'import.meta.url': 'shoalUrl',
  },
  banner: { js: `const shoalUrl = require('node:url').pathToFileURL(__filename).href;` },
  // Names stay, for stack traces.
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: 'none',
  logLevel: 'warning',
});

// An update of a package may load such a module in another way: say so, or starts get slower unnoticed.
const files = Object.keys(metafile.inputs);
for (const [file, names] of Object.entries(SELDOM_USED))
  if (files.some((path) => path.endsWith(`/node_modules/${file}`)))
    for (const asked of names)
      if (!foundLate.has(`${file} ${asked}`))
        throw new Error(`${file} no longer loads ${asked}: see SELDOM_USED in tools/build.mjs`);

writeFileSync(
  'dist/main.cjs',
  `#!/usr/bin/env node
const module_ = require('node:module');
module_.enableCompileCache?.(\`\${__dirname}/compile-cache\`);
require('./program.cjs');
// Now it holds what a start runs; at the end of a long life V8 has thrown most of that away.
setTimeout(() => module_.flushCompileCache?.(), 5000).unref();
`,
  { mode: 0o755 },
);
