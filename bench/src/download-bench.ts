/**
 * `pnpm --filter @shoal/bench download`: curl of 512 MiB that four peers hold one copy of between
 * them, through one of them, against curl from the bare server that streams the file.
 */
import { createHash } from 'node:crypto';
import { execFile } from 'node:child_process';
import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { eventually, health, openTemporaryFolder, startSwarm } from '@shoal/testkit';
import { compare, curl, makeFile, MiB, report, startBareServer } from './measure.ts';

const sizeBytes = Number(process.argv[2] ?? 512) * MiB;
const rounds = Number(process.argv[3] ?? 5);

await using folder = await openTemporaryFolder();
await makeFile(join(folder.path, 'body'), 'download', sizeBytes);
await using bare = await startBareServer(folder.path);
await using swarm = await startSwarm(4);
const [uploader, reader] = swarm.peers;
if (uploader === undefined || reader === undefined) throw new Error('no peers');

const digest = createHash('sha256');
for await (const piece of createReadStream(join(folder.path, 'body')))
  digest.update(piece as Buffer);
const hash = digest.digest('hex');
await curl('-T', join(folder.path, 'body'), `${uploader.chunker}/files/body?replicas=1`);
await eventually(
  'each peer holds its share, and no peer all',
  async () => {
    const { holders, blocks } = await health(reader.discovery, hash);
    const held = holders.reduce((sum, holder) => sum + holder.blocks, 0);
    return held <= blocks + 8 && holders.every(({ share }) => share < 0.6);
  },
  { timeoutMs: 120_000 },
);
const { stdout } = await promisify(execFile)('sh', [
  '-c',
  `curl -sSf ${reader.transfer}/files/${hash} | sha256sum`,
]);
if (!stdout.startsWith(hash)) throw new Error('the download is not the file');

const results = await compare(
  [
    { name: 'bare server', run: () => curl(`${bare.origin}/body`) },
    { name: 'shoal, 4 peers', run: () => curl(`${reader.transfer}/files/${hash}`) },
    { name: 'shoal, by gateway', run: () => curl(`${reader.gateway}/files/${hash}`) },
  ],
  { rounds, sizeBytes },
);
await report('download', results, rounds);
