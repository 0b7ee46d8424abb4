/**
 * `pnpm --filter @shoal/bench starts`: `npm start` for the second time and later: seconds until five peers see each
 * other, until a file that one took was read from another, and CPU seconds of each process until then; beside them
 * the start of a bare Node server.
 */
import { randomBytes } from 'node:crypto';
import { openTemporaryFolder } from '@shoal/testkit';
import { type CpuSeconds, cpuSecondsOf } from './cpu.ts';
import { startBuiltPeers } from './built-peers.ts';
import { startBareServer, writeResults } from './measure.ts';
import { median, processesBelow } from './processes.ts';

const rounds = Number(process.argv[2] ?? 3);
const FILE_SIZE_BYTES = 4096;

interface Start {
  readonly readySeconds: number;
  readonly usableSeconds: number;
  /** Of all processes. */
  readonly cpuSeconds: number;
  readonly cpuSecondsByKind: CpuSeconds;
  readonly processes: number;
  readonly bareCpuSeconds: number;
}

await using folder = await openTemporaryFolder();
const starts: Start[] = [];
for (let round = 0; round <= rounds; round += 1) {
  const start = await startOnce();
  if (round > 0) starts.push(start);
  console.error(
    `${round === 0 ? 'first start' : `round ${round}`}: ${start.usableSeconds.toFixed(2)} s, ${start.cpuSeconds.toFixed(2)} CPU s`,
  );
}

const middle = (read: (start: Start) => number) => Number(median(starts.map(read)).toFixed(3));
const kinds = [...(starts[0]?.cpuSecondsByKind.keys() ?? [])];
const result = {
  readySeconds: middle((start) => start.readySeconds),
  usableSeconds: middle((start) => start.usableSeconds),
  cpuSeconds: middle((start) => start.cpuSeconds),
  processes: middle((start) => start.processes),
  cpuSecondsOfAProcess: middle((start) => start.cpuSeconds / start.processes),
  bareCpuSeconds: middle((start) => start.bareCpuSeconds),
  cpuSecondsByKind: Object.fromEntries(
    kinds.map((kind) => [kind, middle((start) => start.cpuSecondsByKind.get(kind) ?? 0)]),
  ),
};
console.table(result.cpuSecondsByKind);
console.table({ ...result, cpuSecondsByKind: undefined });
await writeResults('starts', { rounds, ...result });

async function startOnce(): Promise<Start> {
  const startedAtMs = performance.now();
  await using swarm = await startBuiltPeers(folder.path);
  const processes = processesBelow(swarm.rootId).filter(({ kind }) => kind !== 'guard of redis');
  const cpuSecondsByKind = cpuSecondsOf([swarm.rootId]); // npm and all that starts counts as launcher
  const [first] = swarm.peers;
  const last = swarm.peers.at(-1);
  if (first === undefined || last === undefined) throw new Error('no peers');
  const body = randomBytes(FILE_SIZE_BYTES);
  const put = await fetch(`${first.gateway}/files/started`, { method: 'PUT', body });
  if (!put.ok) throw new Error(`the file was refused: ${put.status} ${await put.text()}`);
  const { cid } = (await put.json()) as { cid: string }; // what the route answers
  const got = await fetch(`${last.gateway}/files/${cid}`);
  if (!body.equals(Buffer.from(await got.arrayBuffer()))) throw new Error('it is another file');
  const usableSeconds = (performance.now() - startedAtMs) / 1000;
  await using bare = await startBareServer(folder.path);
  return {
    readySeconds: swarm.readyAfterMs / 1000,
    usableSeconds,
    cpuSeconds: sumOf(cpuSecondsByKind),
    cpuSecondsByKind,
    processes: processes.length,
    bareCpuSeconds: sumOf(cpuSecondsOf([bare.processId])),
  };
}

function sumOf(seconds: CpuSeconds): number {
  return [...seconds.values()].reduce((sum, each) => sum + each, 0);
}
