/** CPU time and memory of process trees, from `/proc` (Linux). */
import { readdirSync, readFileSync } from 'node:fs';

/** `sysconf(_SC_CLK_TCK)`: 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;

/** CPU seconds that these processes and all below them have taken, those that ended and were waited for too. */
export function cpuSecondsOf(rootIds: readonly number[]): number {
  const stats = new Map(readStats().map((stat) => [stat.id, stat]));
  const wanted = new Set(rootIds);
  for (let before = -1; before !== wanted.size;) {
    before = wanted.size;
    for (const { id, parentId } of stats.values()) if (wanted.has(parentId)) wanted.add(id);
  }
  const ticks = [...wanted].map((id) => stats.get(id)?.ticks ?? 0);
  return ticks.reduce((sum, each) => sum + each, 0) / TICKS_PER_SECOND;
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
