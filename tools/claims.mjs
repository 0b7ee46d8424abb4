/**
 * `node tools/claims.mjs`: every claim that the tests make, a line each (file, name), without
 * running any. To compare two commits: run it in both and diff.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { exit, stderr, stdout } from 'node:process';
import { jestCommand } from './run-jest.mjs';
import { ROOT } from './setup.mjs';

/** No test has such a name, so all are skipped, and what they would start is not started. */
const NOBODY = 'no test is called this';

const folder = mkdtempSync(join(tmpdir(), 'shoal-claims-'));
const file = join(folder, 'claims.json');
const asked = ['--json', '--outputFile', file, '--silent', '-t', NOBODY, '--maxWorkers=2'];
const { program, args, env } = jestCommand(asked);
const { status } = spawnSync(program, args, { cwd: ROOT, env, stdio: 'ignore' });
if (status !== 0) {
  stderr.write('jest could not list the tests; run it to see why\n');
  exit(1);
}
const { testResults } = JSON.parse(readFileSync(file, 'utf8'));
rmSync(folder, { recursive: true, force: true });
const claims = testResults.flatMap(({ name, assertionResults }) =>
  assertionResults.map(({ fullName }) => `${relative(ROOT, name)}\t${fullName}`),
);
stdout.write(`${claims.toSorted().join('\n')}\n`);
stderr.write(`${claims.length} claims in ${testResults.length} files\n`);
