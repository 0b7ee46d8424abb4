/**
 * `pnpm --filter @shoal/bench folder [files] [peers] [rounds]`: `shoal add -r` of a folder with many files of 4 KiB, as
 * built, at the gateway of the first peer, with the settings that users get; then `shoal get` of it at the last. What counts is CPU over all processes, the command's own included.
 */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { promisify } from 'node:util';
import { openTemporaryFolder, seededBytes } from '@shoal/testkit';
import { startBuiltPeers } from './built-peers.ts';
import { cpuBetween, cpuSecondsOf } from './cpu.ts';
import { writeResults } from './measure.ts';
import { median } from './processes.ts';

const files = Number(process.argv[2] ?? 10_000);
const peerCount = Number(process.argv[3] ?? 5);
const rounds = Number(process.argv[4] ?? 3);
const FILE_SIZE_BYTES = 4096;
/** Folders in the folder; the first round's is flat. */
const FOLDERS = 10;
/** What an upload sets off elsewhere belongs to its cost. */
const AFTERMATH_MS = 5000;
/** Of the clock in /proc. */
const TICKS_PER_SECOND = 100;
const CLI = join(import.meta.dirname, '../../packages/cli/dist/main.cjs');

const run = promisify(execFile);
await using folder = await openTemporaryFolder();
await using swarm = await startBuiltPeers(join(folder.path, 'swarm'), { peers: peerCount });
const roots = [swarm.rootId];
const [first] = swarm.peers;
const last = swarm.peers.at(-1);
if (first === undefined || last === undefined) throw new Error('no peers');

interface Cost {
  readonly filesPerSecond: number;
  readonly cpuMs: number;
  /** Of the command alone. */
  readonly commandCpuMs: number;
  readonly parts: string;
  readonly output: string;
}

const rows: Record<'add' | 'get', Cost[]> = { add: [], get: [] };
for (let round = 0; round <= rounds; round += 1) {
  const name = `round-${round}-${Date.now()}`;
  const source = join(folder.path, name);
  await fill(source, name, round === 0 ? 1 : FOLDERS);
  const add = await measure('add', '-r', '--json', source, '--peer', first.gateway);
  const { cid, state, copies } = JSON.parse(add.output) as Record<string, string>; // one line, the answer
  say(round, `add (${state}, ${copies} copies)`, add);
  const copy = join(folder.path, `${name}-copy`);
  const get = await measure('get', String(cid), '-o', copy, '--peer', last.gateway);
  say(round, 'get', get);
  const entries = await readdir(copy, { recursive: true });
  console.error(`${entries.length} entries came back`);
  if (round > 0) {
    rows.add.push(add);
    rows.get.push(get);
  }
  await rm(source, { recursive: true });
  await rm(copy, { recursive: true });
}
const middle = (costs: readonly Cost[]) => ({
  filesPerSecond: median(costs.map(({ filesPerSecond }) => filesPerSecond)),
  cpuMs: median(costs.map(({ cpuMs }) => cpuMs)),
});
const results = { files, peerCount, rounds, add: middle(rows.add), get: middle(rows.get) };
console.log(results);
await writeResults(`folder-${peerCount}`, results);

async function fill(path: string, name: string, folders: number): Promise<void> {
  for (let at = 0; at < folders; at += 1)
    await mkdir(join(path, `part ${at}`), { recursive: true });
  for (let at = 0; at < files; at += 1)
    await writeFile(
      join(path, `part ${at % folders}`, `file ${at}`),
      seededBytes(`${name} ${at}`, FILE_SIZE_BYTES),
    );
}

async function measure(...words: readonly string[]): Promise<Cost> {
  const before = cpuSecondsOf(roots);
  const ownBefore = childrenSeconds();
  const startMs = performance.now();
  const { stdout: output } = await run(process.execPath, [CLI, ...words], { maxBuffer: 2 ** 28 });
  const seconds = (performance.now() - startMs) / 1000;
  const command = childrenSeconds() - ownBefore;
  await wait(AFTERMATH_MS);
  const { all, by } = cpuBetween(before, cpuSecondsOf(roots));
  const perFile = (cpuSeconds: number) => (cpuSeconds * 1000) / files;
  const parts = [...by].map(([what, part]) => `${what} ${perFile(part).toFixed(2)}`);
  return {
    filesPerSecond: files / seconds,
    cpuMs: perFile(all + command),
    commandCpuMs: perFile(command),
    parts: parts.join(', '),
    output,
  };
}

function say(round: number, what: string, cost: Cost): void {
  const { filesPerSecond, cpuMs, commandCpuMs, parts } = cost;
  console.error(
    `${round === 0 ? 'warm-up, flat' : `round ${round}`}, ${what}: ${filesPerSecond.toFixed(0)} files/s, ${cpuMs.toFixed(2)} CPU ms a file (command ${commandCpuMs.toFixed(2)}, ${parts})`,
  );
}

/** CPU of children that ended and were waited for. */
function childrenSeconds(): number {
  const stat = readFileSync('/proc/self/stat', 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[13]) + Number(fields[14])) / TICKS_PER_SECOND;
}
