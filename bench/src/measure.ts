/**
 * How things are measured: A and B in turn, in one run, because this machine an hour ago was another
 * machine; the median of several; the ratio, not the figure, is the result.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { cpus, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { pipeline } from 'node:stream/promises';
import { seededStream } from '@shoal/testkit';

export const MiB = 1024 * 1024;

export interface Contender {
  readonly name: string;
  /** Does the thing once; what it takes is measured. */
  readonly run: (round: number) => Promise<void>;
}

export interface Result {
  readonly name: string;
  readonly medianMs: number;
  readonly minMs: number;
  readonly maxMs: number;
  readonly mibPerSecond: number;
}

/** Runs the contenders in turn, `rounds` times after one round that is not counted. */
export async function compare(
  contenders: readonly Contender[],
  {
    rounds,
    sizeBytes,
    before,
  }: {
    readonly rounds: number;
    readonly sizeBytes: number;
    /** What each round needs; not measured. */
    readonly before?: (round: number) => Promise<void>;
  },
): Promise<Result[]> {
  const times = new Map<string, number[]>(contenders.map(({ name }) => [name, []]));
  for (let round = 0; round <= rounds; round += 1) {
    await before?.(round);
    for (const { name, run } of round % 2 === 0 ? contenders : contenders.toReversed()) {
      const startedAtMs = performance.now();
      await run(round);
      const tookMs = performance.now() - startedAtMs;
      if (round > 0) times.get(name)?.push(tookMs);
      console.error(
        `${round === 0 ? 'warm-up' : `round ${round}`}: ${name} ${Math.round(tookMs)} ms`,
      );
    }
  }
  return [...times].map(([name, taken]) => {
    const sorted = taken.toSorted((a, b) => a - b);
    const medianMs = sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
    return {
      name,
      medianMs,
      minMs: sorted[0] ?? Number.NaN,
      maxMs: sorted.at(-1) ?? Number.NaN,
      mibPerSecond: sizeBytes / MiB / (medianMs / 1000),
    };
  });
}

/** Prints the table, and writes it with the machine to `results/<name>.json`. */
export async function report(
  name: string,
  results: readonly Result[],
  rounds: number,
): Promise<void> {
  const [bare] = results;
  const rows = results.map((result) => ({
    ...result,
    // Above 1: faster than the first contender.
    ratio: bare === undefined ? Number.NaN : bare.medianMs / result.medianMs,
  }));
  console.table(
    rows.map((row) => ({
      name: row.name,
      'median ms': Math.round(row.medianMs),
      'min–max ms': `${Math.round(row.minMs)}–${Math.round(row.maxMs)}`,
      'MiB/s': Math.round(row.mibPerSecond),
      ratio: row.ratio.toFixed(2),
    })),
  );
  await writeResults(name, { rounds, results: rows });
}

/** Writes what was measured, with the machine, to `results/<name>.json`. */
export async function writeResults(name: string, measured: object): Promise<void> {
  const machine = {
    cpu: cpus()[0]?.model,
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 1024 ** 3),
    node: process.version,
  };
  const file = join(import.meta.dirname, '..', 'results', `${name}.json`);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, `${JSON.stringify({ machine, ...measured }, undefined, 2)}\n`);
}

/** Writes a file of random-looking bytes. */
export async function makeFile(path: string, seed: string, sizeBytes: number): Promise<void> {
  await pipeline(seededStream(seed, sizeBytes), createWriteStream(path));
}

/** Runs curl and waits. @throws Error when it fails or the server refuses. */
export async function curl(...args: string[]): Promise<void> {
  const child = spawn('curl', ['-sSf', '-o', '/dev/null', ...args], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const [code] = (await once(child, 'exit')) as [number | null];
  if (code !== 0) throw new Error(`curl ended with ${code}`);
}

/** The bare server as a process; disposed, it is gone. */
export async function startBareServer(
  folder: string,
): Promise<{ origin: string; processId: number } & AsyncDisposable> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'bare-server.ts'), folder], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [port] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
  const processId = child.pid ?? Number.NaN; // it printed its port, so it was started
  return { origin: `http://127.0.0.1:${port}`, processId, [Symbol.asyncDispose]: () => end(child) };
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  child.kill('SIGKILL');
  await once(child, 'exit');
}
