/** CPU time and memory of process trees, from `/proc` (Linux). */
import { readdirSync, readFileSync } from 'node:fs';

/** `sysconf(_SC_CLK_TCK)`: 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;

/** CPU seconds by what a process runs: `storage`, `redis`, `launcher`, … */
export type CpuSeconds = ReadonlyMap<string, number>;

/** CPU seconds that these processes and all below them have taken, those that ended and were waited for too. */
export function cpuSecondsOf(rootIds: readonly number[]): CpuSeconds {
  const stats = new Map(readStats().map((stat) => [stat.id, stat]));
  const wanted = new Set(rootIds);
  for (let before = -1; before !== wanted.size;) {
    before = wanted.size;
    for (const { id, parentId } of stats.values()) if (wanted.has(parentId)) wanted.add(id);
  }
  const seconds = new Map<string, number>();
  for (const id of wanted) {
    const name = nameOf(id);
    const ticks = stats.get(id)?.ticks ?? 0;
    seconds.set(name, (seconds.get(name) ?? 0) + ticks / TICKS_PER_SECOND);
  }
  return seconds;
}

/** What was taken between two readings, and in all. */
export function cpuBetween(
  before: CpuSeconds,
  after: CpuSeconds,
): { readonly all: number; readonly by: CpuSeconds } {
  const by = new Map(
    [...after].map(([name, seconds]) => [name, seconds - (before.get(name) ?? 0)]),
  );
  return { all: [...by.values()].reduce((sum, each) => sum + each, 0), by };
}

function nameOf(id: number): string {
  try {
    const command = readFileSync(`/proc/${id}/cmdline`, 'utf8').replaceAll('\0', ' ');
    if (command.includes('redis-server')) return 'redis';
    return /services\/(\w+)/.exec(command)?.[1] ?? 'launcher';
  } catch {
    return 'ended';
  }
}

interface Stat {
  readonly id: number;
  readonly parentId: number;
  readonly ticks: number;
}

function readStats(): Stat[] {
  return readdirSync('/proc').flatMap((name): Stat[] => {
    if (!/^\d+$/.test(name)) return [];
    try {
      const text = readFileSync(`/proc/${name}/stat`, 'utf8');
      // Behind the name, which may hold anything: state, ppid, … utime, stime, cutime, cstime (proc(5)).
      const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
      const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
      return [{ id: Number(name), parentId: Number(fields[1]), ticks }];
    } catch {
      return []; // it ended meanwhile
    }
  });
}
