/**
 * Runs scenarios in rows: those of a row share a stage and play one after another. Rows may play side
 * by side, since much of a scenario is waiting for a grace to pass.
 */
import { existsSync } from 'node:fs';
import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import type { Scenario } from './rig.ts';
import { type Outcome, type RunOptions, runScenario } from './run-scenario.ts';
import type { Stage } from './stage.ts';

export interface RunAllOptions extends RunOptions {
  /** Rows at one time. */
  readonly lanes: number;
  /** Where the logs of a stage go that a scenario failed on. */
  readonly logs: string | undefined;
  readonly onOutcome: (outcome: Outcome) => void;
  /** Told of a run that proved nothing, before it is repeated. */
  readonly onNoise: (outcome: Outcome) => void;
}

/** Answers the outcomes in the order in which they came. */
export async function runAll(
  scenarios: readonly Scenario[],
  options: RunAllOptions,
): Promise<Outcome[]> {
  const rows = rowsOf(scenarios);
  const outcomes: Outcome[] = [];
  const runLane = async (): Promise<void> => {
    for (let row = rows.shift(); row !== undefined; row = rows.shift())
      await runRow(row, options, (outcome) => {
        outcomes.push(outcome);
        options.onOutcome(outcome);
      });
  };
  const ended = await Promise.allSettled(Array.from({ length: options.lanes }, runLane));
  for (const lane of ended) if (lane.status === 'rejected') throw lane.reason;
  return outcomes;
}

/** Neighbours with the same opener. */
function rowsOf(scenarios: readonly Scenario[]): Scenario[][] {
  const rows: Scenario[][] = [];
  for (const scenario of scenarios) {
    const last = rows.at(-1);
    if (last?.[0]?.open === scenario.open) last.push(scenario);
    else rows.push([scenario]);
  }
  return rows;
}

async function runRow(
  row: readonly Scenario[],
  options: RunAllOptions,
  onOutcome: (outcome: Outcome) => void,
): Promise<void> {
  await using open = new SharedStage();
  for (const scenario of row) {
    if (options.signal.aborted) break;
    let outcome = await runOne(scenario, () => open.get(scenario), options);
    if (outcome.verdict === 'noise') {
      // Whatever else ran on this machine may be over: what proves nothing is done once more, on a new stage.
      options.onNoise(outcome);
      await open[Symbol.asyncDispose]();
      outcome = await runOne(scenario, () => open.get(scenario), options);
    }
    onOutcome(outcome);
    if (outcome.verdict !== 'fail' && outcome.verdict !== 'noise') continue;
    if (options.logs !== undefined) await open.saveLogs(join(options.logs, scenario.id));
    // What a failed scenario leaves behind would be blamed on the next one.
    await open[Symbol.asyncDispose]();
  }
}

/** The stage of a row: opened when it is first asked for, and again once it was closed. */
class SharedStage implements AsyncDisposable {
  #stage: Stage | undefined;

  async get({ open }: Scenario): Promise<Stage> {
    return (this.#stage ??= await open());
  }

  /** Copies the logs of all its processes; a peer that was wiped has none. */
  async saveLogs(folder: string): Promise<void> {
    for (const { dataDir, peerId } of this.#stage?.peers ?? []) {
      const logs = join(dataDir, 'logs');
      if (existsSync(logs)) await cp(logs, join(folder, peerId.slice(-6)), { recursive: true });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const last = this.#stage;
    this.#stage = undefined;
    await last?.[Symbol.asyncDispose]();
  }
}

async function runOne(
  scenario: Scenario,
  open: () => Promise<Stage>,
  options: RunOptions,
): Promise<Outcome> {
  const { id, promise } = scenario;
  const startedAtMs = performance.now();
  const ended = (verdict: 'skipped' | 'fail', reason: string): Outcome => ({
    id,
    promise,
    verdict,
    reason,
    durationMs: performance.now() - startedAtMs,
    injected: [],
  });
  const whyNot = await scenario.whyNot?.();
  if (whyNot !== undefined) return ended('skipped', whyNot);
  try {
    return await runScenario(scenario, await open(), options);
  } catch (error) {
    return ended('fail', String(error));
  }
}
