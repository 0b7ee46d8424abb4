/**
 * Jest as this project runs it. Called in a package's folder (turbo's `test` tasks) it runs the tests
 * below that, unless its arguments name files.
 */
import { spawnSync } from 'node:child_process';
import { join, relative } from 'node:path';
import { argv, cwd, exit } from 'node:process';
import { buildPrograms, findNode, projectEnv, ROOT } from './setup.mjs';

const JEST = join(ROOT, 'node_modules', 'jest', 'bin', 'jest.js');

/** The arguments of jest; `counts` is a file that gets the numbers (count-reporter.mjs). */
export function jestCommand(args, { counts } = {}) {
  return {
    program: findNode(),
    args: [JEST, '--passWithNoTests', ...args],
    env: {
      ...projectEnv(),
      NODE_OPTIONS: '--no-warnings',
      ...(counts === undefined ? {} : { COUNTS_FILE: counts }),
    },
  };
}

if (import.meta.main ?? argv[1] === import.meta.filename) {
  buildPrograms();
  const here = relative(ROOT, cwd());
  const asked = argv.slice(2);
  const namesFiles = asked.some((arg) => !arg.startsWith('-') && arg.includes('/'));
  const below = here === '' || namesFiles ? [] : ['--testPathPatterns', `^${join(ROOT, here)}/`];
  const { program, args, env } = jestCommand([...asked, ...below]);
  const { status } = spawnSync(program, args, { cwd: ROOT, env, stdio: 'inherit' });
  exit(status ?? 1);
}
