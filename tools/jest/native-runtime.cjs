/**
 * Jest's runtime with Node's own module loader instead of jest's: test files, and all that they import, are
 * loaded as `node` would load them, types stripped, modules cached for the life of the process. Jest's
 * loader compiles each module again for each file, in a context of its own, which took a quarter of all
 * CPU time of a test run. The price: mocks of modules (none here), and isolation between files that
 * share a process; see jest.config.mjs for who does.
 */
const { registerHooks } = require('node:module');
const { pathToFileURL } = require('node:url');

const JestRuntime = require('jest-runtime').default;

const GLOBALS = '@jest/globals';
/** Where circus keeps who listens to its events. */
const CIRCUS_HANDLERS = Symbol.for('EVENT_HANDLERS');
/** Of the file that runs now. */
let globals;
let files = 0;

registerHooks({
  resolve: (specifier, context, next) =>
    specifier === GLOBALS
      ? { url: `shoal-jest-globals:${files}`, format: 'module', shortCircuit: true }
      : next(specifier, context),
  load(url, context, next) {
    if (!url.startsWith('shoal-jest-globals:')) return next(url, context);
    const names = Object.keys(globals).map((name) => `export const ${name} = globals.${name};`);
    const source = `const globals = process[Symbol.for('${GLOBALS}')];\n${names.join('\n')}`;
    return { format: 'module', source, shortCircuit: true };
  },
});

module.exports = class NativeRuntime extends JestRuntime {
  constructor(...args) {
    super(...args);
    globals = undefined;
    files += 1;
    // The framework of the file before, in the same process: its state ends with it.
    delete globalThis[CIRCUS_HANDLERS];
    for (const path of Object.keys(require.cache))
      if (/[/\\]jest-circus[/\\]/.test(path)) delete require.cache[path];
  }

  unstable_shouldLoadAsEsm() {
    return true;
  }

  async unstable_importModule(path) {
    globals ??= this.requireModuleOrMock(path, GLOBALS);
    process[Symbol.for(GLOBALS)] = globals;
    return import(`${pathToFileURL(path).href}?file=${files}`);
  }

  requireInternalModule(path) {
    return require(path);
  }
};
