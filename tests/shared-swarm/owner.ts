/**
 * A program, run by the runner: listens on the unix socket that its one argument names, starts the
 * shared swarm when somebody connects for the first time, and answers everybody with its peers. On
 * SIGTERM, or when the runner is gone, it looks whether tests left anything behind, says so on stderr,
 * and ends with 1 if so.
 */
import { once } from 'node:events';
import { createServer } from 'node:net';
import { argv, ppid, stderr } from 'node:process';
import { ImportReply } from '@shoal/protocol';
import {
  eventually,
  type HostedSwarm,
  listFiles,
  type Peer,
  startHostedSwarm,
} from '@shoal/testkit';
import { FIXTURES, readFixture } from '../fixtures/fixture.ts';

/** What the others are told of a peer. */
export type SharedPeer = Omit<Peer, 'logTails'>;

const PEERS = 3;
/** So that copies beyond what was asked for are gone in a second. */
const SETTINGS = { TRANSFER_SETTLE_DELAY_MS: '500' };
/** It has a codec that nobody here reads, and would not be kept. */
const LEFT_OUT = 'trustless_gateway_car_dir-with-dag-cbor-with-links';
const PARENT_CHECK_MS = 1000;

const path = argv[2];
if (path === undefined) throw new Error('owner.ts <socket>');
let starting: Promise<HostedSwarm> | undefined;
const roots = new Set<string>();

const stopping = new AbortController();
const runner = ppid;
process.on('SIGTERM', () => stopping.abort());
const watch = setInterval(() => {
  if (process.ppid !== runner) stopping.abort();
}, PARENT_CHECK_MS);

const server = createServer((socket) => {
  socket.on('error', () => undefined); // a test that gave up waiting
  starting ??= start();
  starting.then(
    ({ peers }) => socket.end(JSON.stringify(peers)), // without functions
    (error: unknown) => {
      stderr.write(`the shared swarm did not start: ${String(error)}\n`);
      socket.destroy();
    },
  );
});
server.listen(path);
await once(server, 'listening');
process.stdout.write('listening\n');

if (!stopping.signal.aborted) await once(stopping.signal, 'abort');
clearInterval(watch);
server.close();
process.exitCode = (await isLeftAsItWas()) ? 0 : 1;

async function start(): Promise<HostedSwarm> {
  const swarm = await startHostedSwarm(PEERS, { env: SETTINGS });
  const [first] = swarm.peers;
  if (first === undefined) throw new Error('a swarm of three has a first peer');
  for (const name of FIXTURES.filter((each) => each !== LEFT_OUT)) {
    const { car } = await readFixture(name);
    const answer = await fetch(`${first.gateway}/ipfs?replicas=1&copies=1`, {
      method: 'POST',
      headers: { 'content-type': 'application/vnd.ipld.car' },
      body: new Uint8Array(car),
    });
    if (!answer.ok) throw new Error(`${name}: ${answer.status} ${await answer.text()}`);
    // Some have more than one root.
    for (const { cid } of ImportReply.parse(await answer.json()).pinned) roots.add(cid);
  }
  return swarm;
}

/** Ends the swarm, if there is one; whether it held its fixtures and nothing else. */
async function isLeftAsItWas(): Promise<boolean> {
  if (starting === undefined) return true;
  await using swarm = await starting;
  const left = async () => {
    const files = await Promise.all(swarm.peers.map(({ discovery }) => listFiles(discovery)));
    return files.flat().filter(({ cid }) => !roots.has(cid));
  };
  try {
    // A deletion takes a moment to reach all of them.
    await eventually('nothing is left', async () => (await left()).length === 0);
    return true;
  } catch {
    for (const line of new Set((await left()).map(({ name, cid }) => `${name} (${cid})`)))
      stderr.write(`left in the shared swarm by a test: ${line}\n`);
    return false;
  }
}
