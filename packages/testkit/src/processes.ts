/** The descendants of a process, from /proc: the swarm tests need Linux. */
import { readdirSync, readFileSync } from 'node:fs';

export interface RunningProcess {
  readonly processId: number;
  readonly command: string;
}

/** The processes that `parentId` started and that still run. */
export function listChildren(parentId: number): RunningProcess[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((processId) => parentOf(processId) === parentId)
    .map((processId) => ({ processId, command: commandOf(processId) }));
}

/** Whether a process with this id runs: one that ended but was not waited for does not. */
export function isRunning(processId: number): boolean {
  const state = statusOf(processId)?.[0];
  return state !== undefined && state !== 'Z' && state !== 'X';
}

/** Sends a signal; a process that is gone already is fine. */
export function signalProcess(processId: number, signal: NodeJS.Signals): void {
  try {
    process.kill(processId, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function parentOf(processId: number): number | undefined {
  const [state, parent] = statusOf(processId) ?? [];
  return state === undefined || state === 'Z' ? undefined : Number(parent);
}

/** State, parent and what follows in /proc/<id>/stat; the name before it may hold anything. */
function statusOf(processId: number): string[] | undefined {
  const text = readIfThere(`/proc/${processId}/stat`);
  return text?.slice(text.lastIndexOf(')') + 2).split(' ');
}

function commandOf(processId: number): string {
  return (readIfThere(`/proc/${processId}/cmdline`) ?? '').split('\0').join(' ').trim();
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined; // it ended while we looked
  }
}
