/**
 * `pnpm --filter @shoal/bench upload`: curl -T of 512 MiB to a swarm of one peer, as it is started
 * (fsync on), against the bare server, which does not even sync. Each round is a file of its own.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { openTemporaryFolder, startPeer } from '@shoal/testkit';
import { compare, curl, makeFile, MiB, report, startBareServer } from './measure.ts';

const sizeBytes = Number(process.argv[2] ?? 512) * MiB;
const rounds = Number(process.argv[3] ?? 5);

await using folder = await openTemporaryFolder();
const bareDir = join(folder.path, 'bare');
await mkdir(bareDir);
await using bare = await startBareServer(bareDir);
await using peer = await startPeer({ env: { STORAGE_FSYNC: 'true' } });

// A new file each round, made outside of what is measured: a block that is held already costs nothing.
const body = join(folder.path, 'body');
const results = await compare(
  [
    { name: 'bare server, no fsync', run: () => curl('-T', body, `${bare.origin}/x`) },
    {
      name: 'shoal, fsync',
      run: (round) => curl('-T', body, `${peer.chunker}/files/${round}.bin`),
    },
  ],
  { rounds, sizeBytes, before: (round) => makeFile(body, `round ${round}`, sizeBytes) },
);
await report('upload', results, rounds);
