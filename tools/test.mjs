/**
 * `npm test`: set-up, then format, lint and types, then every test, clients of others, the short form of
 * chaos, and a swarm in Docker where there is an engine. With arguments it is jest alone, with these arguments. Its last line counts
 * everything: a check that fails is a test that failed.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { argv, exit, stdout } from 'node:process';
import { findNode, INTEROP, projectEnv, ROOT, setUp, setUpInterop } from './setup.mjs';

const CHECKS = [
  ['format', 'oxfmt', ['--check', '.']],
  ['lint', 'oxlint', ['--type-aware', '.']],
  ['types', 'turbo', ['run', 'typecheck', '--output-logs=errors-only']],
];
/** Tests with real processes are run one at a time: they share two cores with what they start. */
const LEVELS = [
  ['--selectProjects', 'unit', '--maxWorkers=2'],
  ['--selectProjects', 'integration', '--runInBand'],
  ['--selectProjects', 'swarm', '--runInBand'],
  ['--selectProjects', 'conformance', '--runInBand'],
];
/** In tests/interop, a workspace of its own. */
const INTEROP_CHECKS = [['types of tests/interop', 'tsc', ['-p', INTEROP]]];
/** Two minutes on a machine with nothing else to do. */
const INTEROP_TIMEOUT_MS = 900_000;

/** What deploy/peer.Dockerfile begins with. */
const BASE_IMAGE = 'node:24-bookworm-slim';
/** Four minutes on a machine with nothing else to do. */
const SMOKE_TIMEOUT_MS = 900_000;
/** What no other test shows, and needs no quiet machine to judge; the whole short form is for a person. */
const CHAOS_SCENARIOS = 'R7,R10,R11,R12';
const CHAOS_TIMEOUT_MS = 900_000;

setUp();
const node = findNode();
const args = argv.slice(2);
const totals = { passed: 0, failed: 0, skipped: 0 };
const isAll = args.length === 0;
if (isAll) setUpInterop();
if (isAll) for (const check of [...CHECKS, ...INTEROP_CHECKS]) runCheck(check);
const runs = isAll ? LEVELS : [['--maxWorkers=2', ...args]];
for (const run of runs) runJest(run);
if (isAll) {
  const reporter = `--test-reporter=${join(INTEROP, 'reporter.ts')}`;
  const interop = ['--no-warnings', reporter, join(INTEROP, 'main.ts')];
  runProgram(node, interop, INTEROP_TIMEOUT_MS);
  const chaos = join(ROOT, 'tests', 'chaos', 'main.ts');
  runProgram(node, [chaos, '--short', '--only', CHAOS_SCENARIOS], CHAOS_TIMEOUT_MS);
  runSmoke();
}
const skipped = totals.skipped === 0 ? '' : `, ${totals.skipped} skipped`;
stdout.write(`${totals.passed} passed, ${totals.failed} failed${skipped}\n`);
exit(totals.failed === 0 && totals.passed > 0 ? 0 : 1);

/** The Docker smoke test, where an engine answers and has, or can get, the image that ours is made of. */
function runSmoke() {
  const can = (programArgs, timeout) =>
    spawnSync('docker', programArgs, { stdio: 'ignore', timeout }).status === 0;
  const whyNot = !can(['info'], 10_000)
    ? 'no Docker engine answers'
    : !can(['compose', 'version'], 10_000)
      ? 'Docker has no Compose plugin'
      : !can(['image', 'inspect', BASE_IMAGE], 10_000) && !can(['pull', '-q', BASE_IMAGE], 120_000)
        ? `${BASE_IMAGE} can't be pulled`
        : undefined;
  if (whyNot !== undefined) {
    stdout.write(`SKIPPED Docker smoke test: ${whyNot}\n`);
    return;
  }
  runProgram(join(ROOT, 'deploy', 'smoke'), [], SMOKE_TIMEOUT_MS);
}

/** A program whose last line counts what passed and what failed. */
function runProgram(program, programArgs, timeout) {
  const { status, stdout: output } = spawnSync(program, programArgs, {
    cwd: ROOT,
    env: projectEnv(),
    stdio: ['ignore', 'pipe', 'inherit'],
    encoding: 'utf8',
    timeout,
  });
  const counts = /(\d+) passed, (\d+) failed\s*$/;
  stdout.write((output ?? '').replace(counts, ''));
  const [, passed = '0', failed = '0'] = counts.exec(output ?? '') ?? [];
  totals.passed += Number(passed);
  totals.failed += Number(failed);
  if (status !== 0 && failed === '0') totals.failed += 1;
}

function runCheck([name, program, programArgs]) {
  const {
    status,
    stdout: output,
    stderr,
  } = spawnSync(program, programArgs, {
    cwd: ROOT,
    env: { ...projectEnv(), TURBO_TELEMETRY_DISABLED: '1', DO_NOT_TRACK: '1' },
    stdio: ['ignore', 'pipe', 'pipe'],
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  });
  totals[status === 0 ? 'passed' : 'failed'] += 1;
  stdout.write(`${status === 0 ? 'ok    ' : 'FAILED'} ${name}\n`);
  if (status !== 0) stdout.write(`${output ?? ''}${stderr ?? ''}`);
}

function runJest(jestArgs) {
  const folder = mkdtempSync(join(tmpdir(), 'shoal-counts-'));
  const file = join(folder, 'counts.json');
  const jest = join(ROOT, 'node_modules', 'jest', 'bin', 'jest.js');
  const { status } = spawnSync(node, [jest, '--passWithNoTests', ...jestArgs], {
    cwd: ROOT,
    env: {
      ...projectEnv(),
      NODE_OPTIONS: '--experimental-vm-modules --no-warnings',
      COUNTS_FILE: file,
    },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const counts = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : undefined;
  rmSync(folder, { recursive: true, force: true });
  for (const key of Object.keys(totals)) totals[key] += counts?.[key] ?? 0;
  // jest can fail without a failed test: a file that does not load, an option that is unknown.
  if (status !== 0 && (counts?.failed ?? 0) === 0) totals.failed += 1;
}
