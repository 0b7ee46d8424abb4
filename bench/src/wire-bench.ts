/**
 * `pnpm --filter @shoal/bench wire [MiB] [rounds]`: CPU of both ends together for each GiB of blocks that one peer gets from
 * another: plainly, by TLS, and by the least that TLS can do, a bare pair that reads into one buffer.
 */
import { fork } from 'node:child_process';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { join } from 'node:path';
import { connect } from 'node:tls';
import {
  createPeerClient,
  createPeerTls,
  createProver,
  identityOf,
  type PeerClient,
  type Target,
} from '@shoal/chassis';
import { routePath, storageRoutes } from '@shoal/protocol';
import { MiB, writeResults } from './measure.ts';
import { median } from './processes.ts';
import type { WireServer } from './wire-server.ts';

const blocks = Number(process.argv[2] ?? 1024);
const rounds = Number(process.argv[3] ?? 5);
/** Blocks in flight: a reader's window. */
const IN_FLIGHT = 8;
const CID = 'bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku';

const newIdentity = () => identityOf(generateKeyPairSync('ed25519').privateKey);
const swarmKey = randomBytes(32);
const [here, there] = [newIdentity(), newIdentity()];
const child = fork(join(import.meta.dirname, 'wire-server.ts'), [
  JSON.stringify({
    identity: { ...there, privateKeyRaw: Buffer.from(there.privateKeyRaw).toString('hex') },
    swarmKey: swarmKey.toString('hex'),
  }),
]);
const [{ service: origin, barePort }] = (await once(child, 'message')) as [WireServer];
const tls = createPeerTls(here, swarmKey);
const own = Object.fromEntries(
  ['gateway', 'chunker', 'storage', 'transfer', 'discovery'].map((name) => [name, 'http://[::]:1']),
) as Parameters<typeof createPeerClient>[0]['own']; // a key for each service
const prover = createProver(swarmKey, here.peerId, here.privateKeyRaw);
const plain = createPeerClient({ prover, self: here.peerId, own });
const secure = createPeerClient({ prover, self: here.peerId, own, tls });
const target: Target = { peerId: there.peerId, origin };
const path = routePath(storageRoutes.getBlock.path, { cid: CID });
const { signal } = new AbortController();

async function getAll(client: PeerClient): Promise<void> {
  let left = blocks;
  const getSome = async (): Promise<void> => {
    const into = Buffer.allocUnsafeSlow(MiB);
    while ((left -= 1) >= 0)
      await client.receive(target, path, { onHead: () => into, stallMs: 60_000, signal });
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, getSome));
}

/** One byte asks for one block. */
async function readBare(): Promise<void> {
  let got = 0;
  let asked = IN_FLIGHT;
  const { promise, resolve } = Promise.withResolvers<void>();
  // Apart: the types don't know `onread` of TLS.
  const options = {
    host: '127.0.0.1',
    port: barePort,
    secureContext: tls.context,
    rejectUnauthorized: false,
    onread: {
      buffer: Buffer.allocUnsafeSlow(MiB),
      callback(sizeBytes: number) {
        got += sizeBytes;
        for (; asked < Math.min(blocks, got / MiB + IN_FLIGHT); asked += 1) socket.write('x');
        if (got === blocks * MiB) resolve();
        return true;
      },
    },
  };
  const socket = connect(options);
  socket.write('x'.repeat(IN_FLIGHT));
  await promise;
  socket.destroy();
}

async function cpuSeconds(): Promise<{ here: number; there: number }> {
  const answer = once(child, 'message');
  child.send('');
  const { user, system } = process.cpuUsage();
  const [far] = (await answer) as [number];
  return { here: (user + system) / 1e6, there: far };
}

const contenders = [
  { name: 'plain', run: () => getAll(plain) },
  { name: 'TLS', run: () => getAll(secure) },
  { name: 'bare TLS', run: readBare },
];
const taken = new Map(contenders.map(({ name }) => [name, { here: [], there: [] } as Taken]));
interface Taken {
  readonly here: number[];
  readonly there: number[];
}
for (let round = 0; round <= rounds; round += 1)
  for (const { name, run } of round % 2 === 0 ? contenders : contenders.toReversed()) {
    const before = await cpuSeconds();
    await run();
    const after = await cpuSeconds();
    const perGiB = (seconds: number) => (seconds * 1024) / blocks;
    const [near, far] = [after.here - before.here, after.there - before.there].map(perGiB);
    console.error(`${round === 0 ? 'warm-up' : `round ${round}`}: ${name} ${near} + ${far} CPU s`);
    if (round > 0) taken.get(name)?.here.push(near ?? NaN);
    if (round > 0) taken.get(name)?.there.push(far ?? NaN);
  }
const rows = [...taken].map(([name, { here: near, there: far }]) => {
  const receiver = median(near);
  const sender = median(far);
  const both = median(near.map((seconds, index) => seconds + (far[index] ?? NaN)));
  return { name, receiver, sender, both, least: Math.min(...near) + Math.min(...far) };
});
const round2 = (row: object) =>
  Object.fromEntries(
    Object.entries(row).map(([key, value]) => [
      key,
      typeof value === 'number' ? Number(value.toFixed(2)) : (value as unknown),
    ]),
  );
console.table(rows.map(round2));
await writeResults('wire', { unit: 'CPU s a GiB', blocks, rounds, results: rows.map(round2) });
await plain[Symbol.asyncDispose]();
await secure[Symbol.asyncDispose]();
child.disconnect();
