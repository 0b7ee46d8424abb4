/** Runs tests of the project that are too deep inside a service for a swarm to reach. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { env as ownEnv } from 'node:process';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const JEST = fileURLToPath(new URL('../../node_modules/jest/bin/jest.js', import.meta.url));
/** What is kept of what it says. */
const OUTPUT_MAX_CHARACTERS = 2000;

export interface JestRun {
  readonly passed: number;
  readonly failed: number;
  /** The last that it said. */
  readonly output: string;
}

/** Runs the tests in this folder or file of the project; undefined when there is none such. */
export async function runJest(
  path: string,
  { env, signal }: { readonly env: Readonly<Record<string, string>>; readonly signal: AbortSignal },
): Promise<JestRun | undefined> {
  if (!existsSync(`${ROOT}/${path}`)) return undefined;
  const child = spawn(
    process.execPath,
    [JEST, '--selectProjects', 'unit', 'integration', '--runInBand', '--testPathPatterns', path],
    {
      cwd: ROOT,
      env: { ...ownEnv, ...env, NODE_OPTIONS: '--no-warnings' },
      stdio: ['ignore', 'ignore', 'pipe'],
      signal,
    },
  );
  let output = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    output = (output + text).slice(-OUTPUT_MAX_CHARACTERS);
  });
  const [code] = (await once(child, 'close')) as [number | null];
  const counted = (what: string) =>
    Number(new RegExp(`^Tests:.*?(\\d+) ${what}`, 'm').exec(output)?.[1] ?? 0);
  const failed = counted('failed');
  return { passed: counted('passed'), failed: code === 0 ? failed : Math.max(1, failed), output };
}
