/** Runs a scenario on a stage: the control first, then the real one, each bounded in time. */
import { createRandom, type RunningPeer } from '@shoal/testkit';
import { createLedger, type Ledger } from './ledger.ts';
import { createModel, type Model } from './model.ts';
import { revive, type Rig, type Scenario } from './rig.ts';
import { isUp, type Stage } from './stage.ts';
import { purge } from './upkeep.ts';

/** `noise`: it found faults where none were made, or had too little to judge, so what it finds proves nothing. */
export type Verdict = 'pass' | 'fail' | 'noise' | 'skipped';

export interface Outcome {
  readonly id: string;
  readonly promise: string;
  readonly verdict: Verdict;
  readonly durationMs: number;
  /** Why it was skipped, or what ended it. */
  readonly reason?: string;
  readonly control?: Ledger;
  readonly ledger?: Ledger;
  /** The harms that were done, in order. */
  readonly injected: readonly string[];
}

export interface RunOptions {
  readonly seed: string;
  readonly isShort: boolean;
  /** Longest time for each of the two runs. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

export async function runScenario(
  scenario: Scenario,
  stage: Stage,
  options: RunOptions,
): Promise<Outcome> {
  const startedAtMs = performance.now();
  const injected: string[] = [];
  const outcome = (rest: Pick<Outcome, 'verdict' | 'reason' | 'control' | 'ledger'>): Outcome => ({
    id: scenario.id,
    promise: scenario.promise,
    durationMs: performance.now() - startedAtMs,
    injected,
    ...rest,
  });
  const control = createLedger();
  const controlError = await attempt(scenario, stage, options, { ledger: control, injected });
  if (controlError !== undefined || !control.isClean)
    return outcome({
      verdict: 'noise',
      control,
      reason: controlError ?? 'faults without a fault being made',
    });
  if (control.doubts !== undefined)
    return outcome({ verdict: 'noise', control, reason: control.doubts });
  const ledger = createLedger();
  const error = await attempt(scenario, stage, options, { ledger, control, injected });
  if (error !== undefined) return outcome({ verdict: 'fail', control, ledger, reason: error });
  if (!ledger.isClean) return outcome({ verdict: 'fail', control, ledger });
  if (ledger.doubts !== undefined)
    return outcome({ verdict: 'noise', control, ledger, reason: ledger.doubts });
  return outcome({ verdict: 'pass', control, ledger });
}

interface Attempt {
  readonly ledger: Ledger;
  readonly control?: Ledger;
  readonly injected: string[];
}

/** One run, and the stage put in order again. Answers what stopped it, in words. */
async function attempt(
  scenario: Scenario,
  stage: Stage,
  { seed, isShort, timeoutMs, signal }: RunOptions,
  { ledger, control, injected }: Attempt,
): Promise<string | undefined> {
  const ended = new AbortController();
  const timeout = AbortSignal.timeout(timeoutMs);
  const either = AbortSignal.any([signal, timeout, ended.signal]);
  const model = createModel();
  const rig: Rig = {
    stage,
    random: createRandom(`${seed}/${scenario.id}`),
    // The control is there to be clean, not to have a large N.
    scale: isShort || control === undefined ? scenario.scale.short : scenario.scale.long,
    isShort,
    isControl: control === undefined,
    ledger,
    control,
    model,
    signal: either,
    async inject(what, act) {
      either.throwIfAborted();
      if (control === undefined) return;
      injected.push(what);
      await act();
    },
  };
  try {
    await untilAborted(scenario.run(rig), either);
    await untilAborted(putInOrder(stage.peers, model), either);
    return undefined;
  } catch (error) {
    signal.throwIfAborted();
    if (timeout.aborted) return `not done within ${timeoutMs / 1000} s`;
    return describe(error);
  } finally {
    ended.abort();
  }
}

/** All peers up, and the files of this run deleted, so that the next one starts with none. */
async function putInOrder(peers: readonly RunningPeer[], model: Model): Promise<void> {
  await revive(peers);
  const peer = peers.find(isUp);
  if (peer === undefined) return;
  for (const { cid } of model.live()) await purge(peer, cid);
}

/** A run that hangs is left behind: its stage is thrown away, which ends whatever it waits for. */
async function untilAborted(run: Promise<void>, signal: AbortSignal): Promise<void> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(signal.reason as Error);
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  run.catch(() => undefined); // once it is left behind, nobody else hears of its end
  try {
    await Promise.race([run, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause === undefined ? '' : ` (${describe(error.cause)})`;
  return `${error.message}${cause}`;
}
