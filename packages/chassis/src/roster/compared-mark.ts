/**
 * Says to a peer's other services that discovery has compared the roster with a member since it started. Until then
 * nobody is taken for a member: one may have been removed while this peer was away.
 *
 * A file with the process that wrote it, so that the mark of an earlier run counts for nothing.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export const MARK_FILE = 'roster.compared';

export const setComparedMark = (peerDataDir: string): void =>
  writeFileSync(join(peerDataDir, MARK_FILE), nameOfProcess(process.pid), { mode: 0o600 });

export const clearComparedMark = (peerDataDir: string): void =>
  rmSync(join(peerDataDir, MARK_FILE), { force: true });

/** Whether the process that set it still runs. */
export function hasComparedMark(peerDataDir: string): boolean {
  let mark: string;
  try {
    mark = readFileSync(join(peerDataDir, MARK_FILE), 'utf8');
  } catch {
    return false; // there is none
  }
  const pid = Number.parseInt(mark, 10);
  return Number.isSafeInteger(pid) && pid > 0 && mark === nameOfProcess(pid);
}

/** A process of this boot: ids are used again, with another time of start (proc(5)). */
function nameOfProcess(pid: number): string {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name, in parentheses, may hold anything; the start is the 20th field after it.
    const startedAt = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
    return `${pid} ${startedAt} ${boot}`;
  } catch {
    return isRunning(pid) ? `${pid}` : '';
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
