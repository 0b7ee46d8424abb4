/**
 * `pnpm --filter @shoal/bench small [files] [peers] [rounds]`: files of 4 KiB, 16 in flight, put at the chunker of one
 * of five peers with the settings that users get (three copies, two awaited, fsync on), against the bare server. What
 * counts is CPU over all processes of all peers, which moves less than time does. Then each is read at a peer that has
 * no block of it.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import {
  health,
  openTemporaryFolder,
  type RunningPeer,
  seededBytes,
  startSwarm,
} from '@shoal/testkit';
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
const [first] = swarm.peers as [RunningPeer, ...RunningPeer[]]; // `peerCount` of them

interface Row {
  readonly filesPerSecond: number;
  readonly cpuMs: number;
  /** The same by service. */
  readonly parts: string;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

interface File {
  readonly sha256: string;
  readonly cid: string;
}

/** Sends one request for each file, some at a time, and gives what one of them cost. */
async function measure(
  processIds: readonly number[],
  send: (index: number) => Promise<void>,
): Promise<Row> {
  const tookMs: number[] = [];
  let next = 0;
  const client = async (): Promise<void> => {
    for (let index = next++; index < files; index = next++) {
      const startMs = performance.now();
      await send(index);
      tookMs.push(performance.now() - startMs);
    }
  };
  const cpuBefore = cpuSecondsOf(processIds);
  const startMs = performance.now();
  await Promise.all(Array.from({ length: IN_FLIGHT }, client));
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

async function call(method: 'PUT' | 'GET', url: string, body?: Uint8Array): Promise<Buffer> {
  const answer = await request(url, { method, body: body ?? null, dispatcher });
  const bytes = Buffer.from(await answer.body.arrayBuffer());
  if (answer.statusCode >= 300) throw new Error(`${answer.statusCode} ${bytes.toString()}`);
  return bytes;
}

const bodyOf = (name: string, index: number) => seededBytes(`${name} ${index}`, FILE_SIZE_BYTES);

/** Where each file is read: at a peer that has no block of it, if there is one. */
async function readersOf(put: readonly File[]): Promise<string[]> {
  const readers: string[] = [];
  for (const { cid } of put) {
    const { holders } = await health(first.discovery, cid);
    const ids = new Set<string>(holders.map(({ peerId }) => peerId));
    const without = swarm.peers.filter(({ peerId }) => !ids.has(peerId));
    readers.push((without[readers.length % Math.max(1, without.length)] ?? first).transfer);
  }
  return readers;
}

const restBefore = cpuSecondsOf(launchers);
await wait(AFTERMATH_MS);
const rest = cpuBetween(restBefore, cpuSecondsOf(launchers));
const restShare = rest.all / (AFTERMATH_MS / 1000);
console.error(`at rest ${(restShare * 100).toFixed(1)} % of a core`);
const say = (what: string, ours: Row, theirs: Row): void => {
  const row = ({ filesPerSecond, cpuMs, parts, p50Ms, p99Ms }: Row) =>
    `${filesPerSecond.toFixed(0)} files/s ${cpuMs.toFixed(2)} CPU ms a file (${parts}), p50 ${p50Ms.toFixed(0)} ms p99 ${p99Ms.toFixed(0)} ms`;
  const ratio = ours.filesPerSecond / theirs.filesPerSecond;
  console.log(`${what}: shoal ${row(ours)}; bare ${row(theirs)}; ${ratio.toFixed(3)}×`);
};
for (let round = 0; round <= rounds; round += 1) {
  const name = `r${round}-${Date.now()}`;
  const which = round === 0 ? 'warm-up' : `round ${round}`;
  const put: File[] = [];
  say(
    `${which}, put`,
    await measure(launchers, async (index) => {
      const url = `${first.chunker}/files/${name}-${index}`;
      put.push(JSON.parse((await call('PUT', url, bodyOf(name, index))).toString()) as File);
    }),
    await measure([bare.processId], async (index) => {
      await call('PUT', `${bare.origin}/${name}-${index}`, bodyOf(name, index));
    }),
  );
  const readers = await readersOf(put);
  const fileOf = (index: number): File => {
    const file = put[index];
    if (file === undefined) throw new Error('it was put');
    return file;
  };
  say(
    `${which}, get`,
    await measure(launchers, async (index) => {
      await call('GET', `${readers[index]}/files/${fileOf(index).cid}`);
    }),
    await measure([bare.processId], async (index) => {
      const { sha256 } = fileOf(index);
      await call('GET', `${bare.origin}/${sha256.slice(0, 2)}/${sha256}`);
    }),
  );
}
await dispatcher.close();
