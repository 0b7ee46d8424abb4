/** What a tree of processes has used and holds, from /proc: Linux only. */
import { readdirSync, readFileSync } from 'node:fs';
import { listChildren } from '@shoal/testkit';

const MiB = 1024 * 1024;

export interface Process {
  readonly id: number;
  /** Name of the service, `redis`, `launcher`, or what started that. */
  readonly kind: string;
}

/** All processes below one, itself included. */
export function processesBelow(rootId: number): Process[] {
  const found: Process[] = [{ id: rootId, kind: kindOf(readIfThere(rootId, 'cmdline')) }];
  for (const { processId } of listChildren(rootId)) found.push(...processesBelow(processId));
  return found;
}

/**
 * CPU seconds of all its threads, to the microsecond: what a process at rest uses in a minute is some ticks.
 * Threads that ended are not in it.
 */
export function finelyUsedOf(id: number): number {
  let threads: string[];
  try {
    threads = readdirSync(`/proc/${id}/task`);
  } catch {
    return Number.NaN; // it ended
  }
  return threads.reduce(
    (sum, thread) => sum + Number(readIfThere(id, `task/${thread}/schedstat`).split(' ')[0]) / 1e9,
    0,
  );
}

/** Memory of a process: its own share of what it maps (PSS), and all that it maps (RSS). */
export function memoryOf(id: number): { readonly pssBytes: number; readonly rssBytes: number } {
  const rollup = readIfThere(id, 'smaps_rollup');
  const kib = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(rollup)?.[1]);
  return { pssBytes: kib('Pss') * 1024, rssBytes: kib('Rss') * 1024 };
}

/** How often all threads of a process went to sleep by themselves: a timer that fires is one at least. */
export function wakeUpsOf(id: number): number {
  let threads: string[];
  try {
    threads = readdirSync(`/proc/${id}/task`);
  } catch {
    return Number.NaN; // it ended
  }
  return threads.reduce((sum, thread) => {
    const status = readIfThere(id, `task/${thread}/status`);
    return sum + Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(status)?.[1] ?? 0);
  }, 0);
}

export const inMiB = (bytes: number): number => Math.round((bytes / MiB) * 10) / 10;

/** The middle one of several. */
export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

function kindOf(command: string): string {
  const words = command.replaceAll('\0', ' ');
  const service = /services\/(\w+)\/(?:dist|src)\/main/.exec(words)?.[1];
  if (service !== undefined) return service;
  if (/^\S*(?:redis|valkey)-server/.test(words)) return 'redis';
  if (/packages\/cli\/(?:dist|src)\/main/.test(words)) return 'launcher';
  if (words.includes('kill -9')) return 'guard of redis';
  return 'npm start';
}

function readIfThere(id: number, name: string): string {
  try {
    return readFileSync(`/proc/${id}/${name}`, 'utf8');
  } catch {
    return ''; // it ended while we looked
  }
}
