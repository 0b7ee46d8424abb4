/**
 * Programs that a test run starts. The output of each is kept and printed when it ends, with its verdict and
 * time; each ends with counts of what passed and what failed.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, rmSync } from 'node:fs';
import { setPriority } from 'node:os';
import { stdout } from 'node:process';
import { ROOT } from './setup.mjs';

const COUNTS = /(\d+) passed, (\d+) failed\s*$/;
const KILL_GRACE_MS = 15_000;
/** Of what only computes: beside it a test that waits for peers is served first. */
const PATIENT_PRIORITY = 10;

/** All that run now, for a run that is stopped from outside. */
const running = new Set();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'])
  process.on(signal, () => {
    for (const child of running) child.kill('SIGTERM');
    process.exitCode = 1;
  });

/**
 * Runs one program and answers `{ passed, failed, skipped }`. `countedBy` is 'exit' for a check, which
 * counts as one, 'line' for a program whose last line counts, or a file that it writes its counts to.
 * `isPatient` leaves the processor to all others that run.
 */
export async function runTask(task) {
  const { name, program, args, env, countedBy, isPatient = false, timeoutMs = 1_800_000 } = task;
  const startedAtMs = performance.now();
  const child = spawn(program, args, { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'pipe'] });
  if (isPatient && child.pid !== undefined) setPriority(child.pid, PATIENT_PRIORITY);
  running.add(child);
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text) => (output += text));
  let isLate = false;
  const late = setTimeout(() => {
    isLate = true;
    child.kill('SIGTERM');
    setTimeout(() => child.kill('SIGKILL'), KILL_GRACE_MS).unref();
  }, timeoutMs);
  const [code] = await Promise.race([
    once(child, 'close'),
    once(child, 'error').then(([error]) => {
      output += `${error.message}\n`;
      return [1];
    }),
  ]);
  clearTimeout(late);
  running.delete(child);
  const counts = countsOf(output, { code, countedBy });
  const took = `${Math.round((performance.now() - startedAtMs) / 1000)} s`;
  const verdict = isLate
    ? `FAILED (stopped after ${took})`
    : counts.failed > 0
      ? 'FAILED'
      : 'ok    ';
  const isQuiet = countedBy === 'exit' && counts.failed === 0;
  const text = isQuiet ? '' : output.replace(COUNTS, '').trimEnd();
  stdout.write(`${text === '' ? '' : `── ${name}\n${text}\n`}${verdict} ${name} (${took})\n`);
  return counts;
}

/**
 * Runs lanes of tasks side by side, the tasks of each lane one after another. Answers the sum of all counts, and
 * all `failedFiles`.
 */
export async function runLanes(lanes) {
  const totals = { passed: 0, failed: 0, skipped: 0, failedFiles: [] };
  const runLane = async (tasks) => {
    for (const task of tasks) {
      const counts = await (typeof task === 'function' ? task() : runTask(task));
      for (const key of ['passed', 'failed', 'skipped']) totals[key] += counts?.[key] ?? 0;
      totals.failedFiles.push(...(counts?.failedFiles ?? []));
    }
  };
  await Promise.all(lanes.map(runLane));
  return totals;
}

function countsOf(output, { code, countedBy }) {
  if (countedBy === 'exit') return { passed: code === 0 ? 1 : 0, failed: code === 0 ? 0 : 1 };
  const counts = countedBy === 'line' ? countsOfLine(output) : countsOfFile(countedBy);
  // It can fail without a failed test: a file that does not load, an option that is unknown.
  return code !== 0 && counts.failed === 0 ? { ...counts, failed: 1 } : counts;
}

function countsOfLine(output) {
  const [, passed = '0', failed = '0'] = COUNTS.exec(output) ?? [];
  return { passed: Number(passed), failed: Number(failed) };
}

function countsOfFile(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return { passed: 0, failed: 0 }; // it never got so far
  } finally {
    rmSync(file, { force: true });
  }
}
