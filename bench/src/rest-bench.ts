/**
 * `pnpm --filter @shoal/bench rest [seconds] [rounds] [peers]`: peers that nobody asks for anything: CPU, wake-ups and memory of each kind
 * of process, medians of several windows.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { openTemporaryFolder } from '@shoal/testkit';
import { startBuiltPeers } from './built-peers.ts';
import { writeResults } from './measure.ts';
import { finelyUsedOf, inMiB, median, memoryOf, processesBelow, wakeUpsOf } from './processes.ts';

const windowSeconds = Number(process.argv[2] ?? 60);
const rounds = Number(process.argv[3] ?? 3);
const peerCount = Number(process.argv[4] ?? 5);
/** What a start leaves to do: first passes of loops, connections that are kept for half a minute. */
const SETTLING_MS = 60_000;

interface Kind {
  /** In a window, of all processes of the kind, as a share of one core. */
  readonly cpuPercent: number[];
  readonly wakeUpsPerSecond: number[];
  readonly pssMiB: number[];
  readonly rssMiB: number[];
  processes: number;
}

await using folder = await openTemporaryFolder();
await using swarm = await startBuiltPeers(folder.path, { peers: peerCount });
console.error(
  `${peerCount} peers see each other after ${(swarm.readyAfterMs / 1000).toFixed(1)} s`,
);
const processes = processesBelow(swarm.rootId).filter(({ kind }) => kind !== 'npm start');
console.error(`${processes.length} processes run; they rest for ${SETTLING_MS / 1000} s`);
await sleep(SETTLING_MS);

const kinds = new Map<string, Kind>();
for (let round = 1; round <= rounds; round += 1) {
  const before = processes.map(({ id }) => ({ used: finelyUsedOf(id), woken: wakeUpsOf(id) }));
  const startedAtMs = performance.now();
  await sleep(windowSeconds * 1000);
  const seconds = (performance.now() - startedAtMs) / 1000;
  const sums = new Map<
    string,
    { cpu: number; woken: number; pss: number; rss: number; n: number }
  >();
  for (const [index, { id, kind }] of processes.entries()) {
    const sum = sums.get(kind) ?? { cpu: 0, woken: 0, pss: 0, rss: 0, n: 0 };
    const { pssBytes, rssBytes } = memoryOf(id);
    sum.cpu += finelyUsedOf(id) - (before[index]?.used ?? Number.NaN);
    sum.woken += wakeUpsOf(id) - (before[index]?.woken ?? Number.NaN);
    sum.pss += pssBytes;
    sum.rss += rssBytes;
    sum.n += 1;
    sums.set(kind, sum);
  }
  for (const [name, { cpu, woken, pss, rss, n }] of sums) {
    const kind = kinds.get(name) ?? newKind();
    kind.cpuPercent.push((100 * cpu) / seconds);
    kind.wakeUpsPerSecond.push(woken / seconds);
    kind.pssMiB.push(inMiB(pss));
    kind.rssMiB.push(inMiB(rss));
    kind.processes = n;
    kinds.set(name, kind);
  }
  const all = [...sums.values()].reduce((sum, { cpu }) => sum + cpu, 0);
  console.error(`round ${round}: ${((100 * all) / seconds).toFixed(2)} % of a core`);
}

const rows = [...kinds].map(([kind, { processes: count, ...figures }]) => ({
  kind,
  processes: count,
  cpuPercent: rounded(median(figures.cpuPercent), 3),
  wakeUpsPerSecond: rounded(median(figures.wakeUpsPerSecond), 1),
  pssMiB: rounded(median(figures.pssMiB), 1),
  rssMiB: rounded(median(figures.rssMiB), 1),
}));
const total = (read: (row: (typeof rows)[number]) => number) =>
  rounded(
    rows.reduce((sum, row) => sum + read(row), 0),
    2,
  );
const result = {
  cpuPercent: total((row) => row.cpuPercent),
  cpuPercentWithoutDiscovery: total((row) => (row.kind === 'discovery' ? 0 : row.cpuPercent)),
  pssMiBOfAPeer: rounded(total((row) => row.pssMiB) / swarm.peers.length, 1),
  rssMiBOfAPeer: rounded(total((row) => row.rssMiB) / swarm.peers.length, 1),
};
console.table(rows);
console.table(result);
await writeResults(peerCount === 5 ? 'rest' : `rest-${peerCount}`, {
  windowSeconds,
  peerCount,
  rounds,
  ...result,
  kinds: rows,
});

function newKind(): Kind {
  return { cpuPercent: [], wakeUpsPerSecond: [], pssMiB: [], rssMiB: [], processes: 0 };
}

function rounded(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}
