/**
 * `npm test`: set-up, then format, lint and types, every test, clients of others, this commit's turn of
 * chaos, and a swarm in Docker where there is an engine. With arguments it is jest alone, with these
 * arguments. Its last line counts everything: a check that fails is a test that failed.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { argv, exit, stdout } from 'node:process';
import { withoutYes } from './consent.mjs';
import { jestCommand } from './run-jest.mjs';
import {
  buildPrograms,
  findNode,
  INTEROP,
  projectEnv,
  ROOT,
  setUp,
  setUpChaos,
  setUpInterop,
} from './setup.mjs';
import { closeSharedSwarm, openSharedSwarm } from './shared-swarm.mjs';
import { runLanes, runTask } from './tasks.mjs';

/** The first image of deploy/peer.Dockerfile. */
const BASE_IMAGE = 'node:24-bookworm-slim';
/** Test files at once. Much of each is waiting, but three fill two cores and wait for each other. */
const WORKERS = 2;
/** Files that are asked once more, alone; when more failed it was not the machine. */
const AGAIN_MAX = 4;
setUp();
buildPrograms();
const folder = mkdtempSync(join(tmpdir(), 'shoal-counts-'));
const args = withoutYes(argv.slice(2));
if (args.length === 0) {
  setUpInterop();
  setUpChaos();
}
await openSharedSwarm();
const totals = { passed: 0, failed: 0, skipped: 0 };
let unstable = 0;
for (const lanes of args.length === 0 ? everything() : [[[jest('jest', args)]]]) {
  const counts = await runLanes(lanes);
  for (const key of Object.keys(totals)) totals[key] += counts[key];
  if (args.length === 0) await askAgain(counts.failedFiles);
}
if (unstable > 0)
  stdout.write(`UNSTABLE ${unstable} failed among others and passed alone: read why, above\n`);
if (!(await closeSharedSwarm())) totals.failed += 1;
rmSync(folder, { recursive: true, force: true });
const skipped = totals.skipped === 0 ? '' : `, ${totals.skipped} skipped`;
stdout.write(`${totals.passed} passed, ${totals.failed} failed${skipped}\n`);
exit(totals.failed === 0 && totals.passed > 0 ? 0 : 1);

/**
 * Runs failed files once more, alone, after everything else: a test that fails there too failed (decision 29).
 * The first failure stays in the output, and the run says how many there were.
 */
async function askAgain(files) {
  if (files.length === 0 || files.length > AGAIN_MAX) return;
  const first = files.reduce(
    (sum, { passed, failed }) => ({ passed: sum.passed + passed, failed: sum.failed + failed }),
    { passed: 0, failed: 0 },
  );
  // The Node that runs this may be older than RegExp.escape.
  const patterns = files.map(({ path }) => `${path.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')}$`);
  const counts = await runTask(jest('alone', ['--maxWorkers=1', ...patterns]));
  totals.passed += counts.passed - first.passed;
  totals.failed += counts.failed - first.failed;
  unstable += Math.max(0, first.failed - counts.failed);
}

/**
 * Stages of lanes: tests that wait for peers beside what only computes and, after that, the clients of others;
 * then chaos, which measures time; then Docker.
 */
function everything() {
  const levels = ['integration', 'swarm', 'conformance'];
  return [
    [
      [jest('levels', ['--selectProjects', ...levels])],
      [
        check('format', 'oxfmt', ['--check', '.']),
        check('lint and types', 'oxlint', ['--type-aware', '--type-check', '.']),
        { ...jest('unit', ['--selectProjects', 'unit']), isPatient: true },
        interop(),
      ],
    ],
    [[chaos()]],
    [[smoke]],
  ];
}

function check(name, program, programArgs) {
  return {
    name,
    program,
    args: programArgs,
    env: projectEnv(),
    countedBy: 'exit',
    isPatient: true,
  };
}

function jest(name, jestArgs) {
  const counts = join(folder, `${name}.json`);
  const workers = jestArgs.some((arg) => arg.startsWith('--maxWorkers'))
    ? []
    : [`--maxWorkers=${WORKERS}`];
  return { name, ...jestCommand([...workers, ...jestArgs], { counts }), countedBy: counts };
}

function interop() {
  const reporter = `--test-reporter=${join(INTEROP, 'reporter.ts')}`;
  return nodeProgram('clients of others', [reporter, join(INTEROP, 'main.ts')]);
}

function chaos() {
  const main = join(ROOT, 'tests', 'chaos', 'main.ts');
  return nodeProgram('chaos', [main, '--short', '--rota', commitOf()]);
}

function nodeProgram(name, programArgs) {
  const all = ['--no-warnings', ...programArgs];
  return { name, program: findNode(), args: all, env: projectEnv(), countedBy: 'line' };
}

/** Without history the turn is always the same one. */
function commitOf() {
  const { status, stdout: hash } = spawnSync('git', ['rev-parse', 'HEAD'], {
    cwd: ROOT,
    encoding: 'utf8',
  });
  return status === 0 ? hash.trim() : 'no history';
}

/** The Docker smoke test, where an engine answers and has, or can get, the image that ours is made of. */
async function smoke() {
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
    return undefined;
  }
  const program = join(ROOT, 'deploy', 'smoke');
  return runTask({ name: 'Docker', program, args: [], env: projectEnv(), countedBy: 'line' });
}
