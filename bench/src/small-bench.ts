/**
 * `pnpm --filter @shoal/bench small [files] [peers] [rounds]`: files of 4 KiB, 16 in flight, put at the chunker of one
 * of five peers with the settings that users get (three copies, two awaited, fsync on), against the bare server. What
 * counts is CPU over all processes of all peers, which moves less than time does.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { openTemporaryFolder, seededBytes, startSwarm } from '@shoal/testkit';
import { Agent, request } from 'undici';
import { cpuBetween, cpuSecondsOf } from './cpu.ts';
import { startBareServer } from './measure.ts';

const FILE_SIZE_BYTES = 4096;
const IN_FLIGHT = 16;
/** What a put sets off elsewhere belongs to its cost. */
const AFTERMATH_MS = 5000;

const files = Number(process.argv[2] ?? 500);
const peerCount = Number(process.argv[3] ?? 5);
const rounds = Number(process.argv[4] ?? 3);
const dispatcher = new Agent({ connections: IN_FLIGHT });

await using folder = await openTemporaryFolder();
await mkdir(join(folder.path, 'bare'));
await using bare = await startBareServer(join(folder.path, 'bare'));
await using swarm = await startSwarm(peerCount, { env: { STORAGE_FSYNC: 'true' } });
const launchers = swarm.peers.map(({ launcherId }) => launcherId);
const [peer] = swarm.peers;
if (peer === undefined) throw new Error('a swarm has a peer');

interface Row {
  readonly filesPerSecond: number;
  readonly cpuMs: number;
  /** The same by service. */
  readonly parts: string;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** Puts files, and gives what one of them cost. */
async function put(origin: string, name: string, processIds: readonly number[]): Promise<Row> {
  const tookMs: number[] = [];
  let next = 0;
  const send = async (): Promise<void> => {
    for (let index = next++; index < files; index = next++) {
      const body = seededBytes(`${name} ${index}`, FILE_SIZE_BYTES);
      const startMs = performance.now();
      const answer = await request(`${origin}/${name}-${index}`, {
        method: 'PUT',
        body,
        dispatcher,
      });
      const text = await answer.body.text();
      if (answer.statusCode >= 300) throw new Error(`${answer.statusCode} ${text}`);
      tookMs.push(performance.now() - startMs);
    }
  };
  const cpuBefore = cpuSecondsOf(processIds);
  const startMs = performance.now();
  await Promise.all(Array.from({ length: IN_FLIGHT }, send));
  const seconds = (performance.now() - startMs) / 1000;
  await wait(AFTERMATH_MS);
  const { all, by } = cpuBetween(cpuBefore, cpuSecondsOf(processIds));
  const cpuMs = (all * 1000) / files;
  const parts = [...by].map(([what, part]) => `${what} ${((part * 1000) / files).toFixed(1)}`);
  const sorted = tookMs.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.floor(sorted.length * share)] ?? Number.NaN;
  return {
    filesPerSecond: files / seconds,
    cpuMs,
    parts: parts.join(', '),
    p50Ms: at(0.5),
    p99Ms: at(0.99),
  };
}

const restBefore = cpuSecondsOf(launchers);
await wait(AFTERMATH_MS);
const rest = cpuBetween(restBefore, cpuSecondsOf(launchers));
const restShare = rest.all / (AFTERMATH_MS / 1000);
console.error(`at rest ${(restShare * 100).toFixed(1)} % of a core`);
for (let round = 0; round <= rounds; round += 1) {
  const name = `r${round}-${Date.now()}`;
  const ours = await put(`${peer.chunker}/files`, name, launchers);
  const theirs = await put(bare.origin, name, [bare.processId]);
  const row = (what: string, { filesPerSecond, cpuMs, parts, p50Ms, p99Ms }: Row) =>
    `${what} ${filesPerSecond.toFixed(0)} files/s ${cpuMs.toFixed(1)} CPU ms a file (${parts}), p50 ${p50Ms.toFixed(0)} ms p99 ${p99Ms.toFixed(0)} ms`;
  const ratio = ours.filesPerSecond / theirs.filesPerSecond;
  console.log(
    `${round === 0 ? 'warm-up' : `round ${round}`}: ${row('shoal', ours)}; ${row('bare', theirs)}; ${ratio.toFixed(3)}×`,
  );
}
await dispatcher.close();
