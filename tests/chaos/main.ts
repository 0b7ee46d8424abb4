/**
 * `pnpm chaos`: harms real swarms on purpose, compares what they answer with what must be true, and
 * says how often it held. See README.md.
 */
import { execFileSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { complaintsOf, lineOf, toJson } from './report.ts';
import type { Scenario } from './rig.ts';
import { ROTA, turnOf } from './rota.ts';
import { runAll } from './run-all.ts';
import type { Outcome } from './run-scenario.ts';
import { SCENARIOS } from './scenarios/index.ts';

/** Longest time for a run of a scenario, and rows of scenarios at one time. */
const FORMS = {
  short: { timeoutMs: 240_000, lanes: 2 },
  long: { timeoutMs: 45 * 60_000, lanes: 1 },
};
const USAGE = `pnpm chaos [--seed S] [--short | --long] [--only R1,R7 | --rota COMMIT] [--json FILE] [--logs FOLDER] [--lanes N]
pnpm chaos --rota-history N    what the last N commits played, without playing`;
const EXIT_USAGE = 2;

const say = (line: string) => process.stdout.write(`${line}\n`);
const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    short: { type: 'boolean', default: false },
    long: { type: 'boolean', default: false },
    only: { type: 'string' },
    rota: { type: 'string' },
    'rota-history': { type: 'string' },
    json: { type: 'string' },
    logs: { type: 'string' },
    lanes: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) {
  say(USAGE);
  process.exit(0);
}
if (values.short && values.long) refuse(USAGE);
const form = values.long ? 'long' : 'short';
const { timeoutMs } = FORMS[form];
const lanes = Number(values.lanes ?? FORMS[form].lanes);
if (!Number.isInteger(lanes) || lanes < 1) refuse(USAGE);
const { logs, json } = values;
if (values['rota-history'] !== undefined) {
  tellHistory(Number(values['rota-history']));
  process.exit(0);
}
if (values.rota !== undefined && values.only !== undefined) refuse(USAGE);
const turn = values.rota === undefined ? undefined : turnOf(fullHash(values.rota));
const seed = values.seed ?? turn?.seed ?? String(randomInt(2 ** 31));
const scenarios = chosen(turn?.ids.join(',') ?? values.only);
const startedAt = new Date().toISOString();

const stopping = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.on(signal, () => stopping.abort(new Error(`stopped by ${signal}`)));
// A mistake of the program's own: nobody is to be left running, so the stages are closed first.
process.on('uncaughtException', (error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exitCode = 1;
  stopping.abort(error);
});

const ids =
  turn === undefined && values.only === undefined
    ? ''
    : ` --only ${scenarios.map(({ id }) => id).join(',')}`;
say(`seed ${seed}, ${form} form; again with: pnpm chaos --${form}${ids} --seed ${seed}`);
const outcomes = await runAll(scenarios, {
  seed,
  isShort: form === 'short',
  timeoutMs,
  lanes,
  logs,
  signal: stopping.signal,
  onOutcome: tell,
  onNoise(outcome) {
    tell(outcome);
    say(`${outcome.id.padEnd(4)} once more`);
  },
});
if (json !== undefined) await writeFile(json, `${toJson(outcomes, { seed, form, startedAt })}\n`);
const count = (...verdicts: string[]): number =>
  outcomes.filter(({ verdict }) => verdicts.includes(verdict)).length;
const failed = count('fail', 'noise');
if (failed > 0) say(`seed ${seed}`);
if (count('skipped') > 0) say(`${count('skipped')} skipped`);
if (stopping.signal.aborted) say(String(stopping.signal.reason));
say(`${count('pass')} passed, ${failed} failed`);
process.exit(failed === 0 && !stopping.signal.aborted ? 0 : 1);

function tell(outcome: Outcome): void {
  for (const line of [lineOf(outcome), ...complaintsOf(outcome)]) say(line);
}

function chosen(only: string | undefined): readonly Scenario[] {
  if (only === undefined) return SCENARIOS.filter(({ isByHand }) => isByHand !== true);
  const ids = only.split(',').map((id) => id.trim().toUpperCase());
  const unknown = ids.filter((id) => !SCENARIOS.some((scenario) => scenario.id === id));
  const known = SCENARIOS.map(({ id }) => id).join(', ');
  if (unknown.length > 0) refuse(`no scenario ${unknown.join(', ')}; there are ${known}`);
  return SCENARIOS.filter(({ id }) => ids.includes(id));
}

/** A commit by any of its names; a hash that git doesn't know, in a tree without history say, is taken as it is. */
function fullHash(commit: string): string {
  try {
    return git('rev-parse', '--verify', '--quiet', `${commit}^{commit}`).trim();
  } catch {
    return commit;
  }
}

function git(...args: readonly string[]): string {
  return execFileSync('git', args, { cwd: import.meta.dirname, encoding: 'utf8' });
}

/** How often each scenario came up in the last commits, and how many trials that makes. */
function tellHistory(count: number): void {
  if (!Number.isInteger(count) || count < 1) refuse(USAGE);
  const commits = git('rev-list', `--max-count=${count}`, 'HEAD').trim().split('\n');
  const turns = commits.map((commit) => turnOf(commit).index);
  for (const { id, promise, scale } of chosen(undefined)) {
    const played = turns.filter((index) => ROTA[index]?.some((each) => each === id)).length;
    say(
      `${id.padEnd(4)} ${played} of ${commits.length} commits, N=${played * scale.short}  ${promise}`,
    );
  }
}

function refuse(why: string): never {
  process.stderr.write(`${why}\n`);
  process.exit(EXIT_USAGE);
}
