/** What the program prints: a line for each scenario, the summary, and the same as JSON. */
import { cpus, release, totalmem } from 'node:os';
import { FAULTS, formatMs, type Ledger } from './ledger.ts';
import type { Outcome } from './run-scenario.ts';

/** Faults are told with their first lines; the whole of it is in the JSON report. */
const REASON_MAX_CHARACTERS = 600;

/** `R1   pass  N=100 reads  0 corrupt, 0 lost, 0 failed, p95 added 120 ms  (34 s)` */
export function lineOf({ id, verdict, ledger, control, reason, durationMs }: Outcome): string {
  const head = `${id.padEnd(4)} ${verdict.padEnd(7)}`;
  if (verdict === 'skipped') return `${head} ${reason ?? ''}`;
  const shown = ledger ?? control;
  const parts = [
    shown === undefined ? '' : trialsOf(shown),
    shown === undefined ? '' : faultsOf(shown),
  ];
  return `${head} ${parts.filter((part) => part !== '').join('  ')}  (${formatMs(durationMs)})`;
}

/** What went wrong in a scenario, a line each; none when nothing did. */
export function complaintsOf({ verdict, reason, control, ledger }: Outcome): string[] {
  if (verdict === 'pass' || verdict === 'skipped') return [];
  const told = [...(verdict === 'noise' ? (control?.told ?? []) : (ledger?.told ?? []))];
  if (reason !== undefined) told.unshift(reason);
  return told.map((line) => `       ${line.slice(0, REASON_MAX_CHARACTERS)}`);
}

/** The machine and every outcome, for a file. */
export function toJson(
  outcomes: readonly Outcome[],
  run: { readonly seed: string; readonly form: string; readonly startedAt: string },
): string {
  const machine = {
    cpus: cpus().length,
    model: cpus()[0]?.model.trim(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.version,
  };
  return JSON.stringify({ ...run, machine, scenarios: outcomes.map(outcomeToJson) }, null, 2);
}

function outcomeToJson({ control, ledger, ...rest }: Outcome) {
  return {
    ...rest,
    control: control && ledgerToJson(control),
    run: ledger && ledgerToJson(ledger),
  };
}

function ledgerToJson({ trials, counts, told, figures }: Ledger) {
  return {
    trials: Object.fromEntries(trials),
    counts,
    told,
    figures: Object.fromEntries(figures),
  };
}

function trialsOf({ trials }: Ledger): string {
  const parts = [...trials].map(([what, count]) => `${count} ${what}`);
  return parts.length === 0 ? '' : `N=${parts.join(', ')}`;
}

function faultsOf({ counts, figures }: Ledger): string {
  const faults = FAULTS.filter((fault) => fault !== 'broken' || counts.broken > 0);
  const counted = faults.map((fault) => `${counts[fault]} ${fault}`);
  return [...counted, ...[...figures].map(([name, value]) => `${name} ${value}`)].join(', ');
}
