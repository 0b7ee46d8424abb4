/**
 * `pnpm --filter @shoal/bench many [files]`: five peers as `npm start` runs them, and many files of 4 KiB put one by one:
 * the rate at the beginning and at the end, how long lists take, at first and again, the memory of each kind of process,
 * and what the swarm uses at rest.
 */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { openTemporaryFolder, seededBytes } from '@shoal/testkit';
import { Agent, request } from 'undici';
import { startBuiltPeers } from './built-peers.ts';
import { writeResults } from './measure.ts';
import { finelyUsedOf, inMiB, median, memoryOf, processesBelow } from './processes.ts';

const files = Number(process.argv[2] ?? 20_000);
const FILE_SIZE_BYTES = 4096;
const IN_FLIGHT = 16;
const PART = 1000;
const LISTS = 5;
const REST_SECONDS = 60;
/** What the puts set off elsewhere. */
const AFTERMATH_MS = 10_000;
/** Between two lists: answers of the one before are not fresh any more. */
const BETWEEN_LISTS_MS = 1500;
/** As in `rest`. */
const SETTLING_MS = 60_000;
const CLI = join(import.meta.dirname, '../../packages/cli/dist/main.cjs');

const dispatcher = new Agent({ connections: IN_FLIGHT });
await using folder = await openTemporaryFolder();
await using swarm = await startBuiltPeers(folder.path);
const [first, second] = swarm.peers;
if (first === undefined || second === undefined) throw new Error('there are five');
const run = processesBelow(swarm.rootId).filter(({ kind }) => kind !== 'npm start');
const usedSeconds = () => run.reduce((sum, { id }) => sum + finelyUsedOf(id), 0);

async function put(index: number): Promise<void> {
  const { statusCode, body } = await request(`${first?.chunker}/files/${index}`, {
    method: 'PUT',
    body: seededBytes(`many ${index}`, FILE_SIZE_BYTES),
    dispatcher,
  });
  const text = await body.text();
  if (statusCode !== 201) throw new Error(`${statusCode} ${text}`);
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await work();
  return performance.now() - startMs;
}

const rates: number[] = [];
const cpuMs: number[] = [];
for (let from = 0; from < files; from += PART) {
  let next = from;
  const end = Math.min(files, from + PART);
  const client = async (): Promise<void> => {
    for (let index = next++; index < end; index = next++) await put(index);
  };
  const before = usedSeconds();
  const tookMs = await timed(() => Promise.all(Array.from({ length: IN_FLIGHT }, client)));
  rates.push(((end - from) * 1000) / tookMs);
  cpuMs.push(((usedSeconds() - before) * 1000) / (end - from));
}
await sleep(AFTERMATH_MS);
const list = async (limit: number): Promise<void> => {
  const answer = await request(`${second.gateway}/files?limit=${limit}`, { dispatcher });
  const reply = (await answer.body.json()) as { files: { state: string }[] };
  if (reply.files.length !== limit) throw new Error(`${reply.files.length} rows`);
  const others = reply.files.filter(({ state }) => state !== 'safe');
  if (others.length > 0) console.error(`${others.length} rows are ${others[0]?.state}`);
};
const page = Math.min(1000, files);
const listFirstMs = await timed(() => list(page));
const listMs: number[] = [];
for (let turn = 0; turn < LISTS; turn += 1) {
  await sleep(BETWEEN_LISTS_MS);
  listMs.push(await timed(() => list(page)));
}
const shoal = promisify(execFile);
const lsMs = await timed(() =>
  shoal(process.execPath, [CLI, 'ls', '--peer', second.gateway], { maxBuffer: 2 ** 30 }),
);
const memory = new Map<string, number>();
const noteMemory = (): void => {
  for (const { id, kind } of run)
    memory.set(kind, Math.max(memory.get(kind) ?? 0, inMiB(memoryOf(id).pssBytes)));
};
await sleep(SETTLING_MS);
noteMemory();
const before = usedSeconds();
await sleep(REST_SECONDS * 1000);
const rest = ((usedSeconds() - before) * 100) / REST_SECONDS;
const results = {
  files,
  putsPerSecond: { first: rates[1] ?? rates[0], last: rates.at(-1), median: median(rates) },
  cpuMsPerFile: { first: cpuMs[1] ?? cpuMs[0], last: cpuMs.at(-1), median: median(cpuMs) },
  list1000FirstMs: listFirstMs,
  list1000Ms: median(listMs),
  lsAllMs: lsMs,
  restCpuPercent: rest,
  largestPssMiB: Object.fromEntries(memory),
};
console.log(results);
await writeResults('many', results);
await dispatcher.close();
