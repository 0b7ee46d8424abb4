import { MiB } from '@shoal/protocol';
import {
  change,
  eventually,
  listAlive,
  listFiles,
  remove,
  type RunningPeer,
  startSwarm,
  untilAllSee,
} from '@shoal/testkit';
import { untilAllSafe } from '../destruction.ts';
import { formatMs, quantile } from '../ledger.ts';
import { compare } from '../model.ts';
import { type Network, openNetwork, whyNoNetwork } from '../network.ts';
import { add, at, fileOf, type Rig, type Scenario } from '../rig.ts';
import type { Stage } from '../stage.ts';

const FILE_SIZE_BYTES = 4 * MiB;
const NOTICED_WITHIN_MS = 30_000;
const AGREED_WITHIN_MS = 60_000;
const PEERS = 5;
/** Peers on the smaller side. */
const SMALL_SIDE = 2;

interface NetworkStage extends Stage {
  readonly network: Network;
}

export const partition: Scenario<NetworkStage> = {
  id: 'R10',
  promise:
    'a partition 2|3 with uploads and deletions on both sides: nothing acknowledged is lost, what is deleted stays deleted, all agree within 60 s',
  open: openStage,
  scale: { short: 1, long: 10 },
  whyNot: whyNoNetwork,
  async run(rig) {
    for (let round = 0; round < rig.scale; round += 1) await partitionOnce(rig, round);
    rig.ledger.figure('agreed within', formatMs(quantile(rig.ledger.samples('agreed'), 1)));
  },
};

async function openStage(): Promise<NetworkStage> {
  await using opening = new AsyncDisposableStack();
  const network = opening.use(await openNetwork(PEERS));
  const { peers } = opening.use(
    await startSwarm(PEERS, {
      env: { TRANSFER_SETTLE_DELAY_MS: '500' },
      optionsOf: (index) => {
        const { address, runThrough } = at(network.hosts, index);
        return { host: address, runThrough, env: { WRITE_OPEN: 'true' } };
      },
    }),
  );
  const open = opening.move();
  return { peers, network, [Symbol.asyncDispose]: () => open.disposeAsync() };
}

async function partitionOnce(rig: Rig<NetworkStage>, round: number): Promise<void> {
  const { stage, ledger, model } = rig;
  const { peers, network } = stage;
  const random = rig.random.fork(round);
  const small = random.sample(peers, SMALL_SIDE);
  const large = peers.filter((peer) => !small.includes(peer));
  const [left, right] = [random.pick(small), random.pick(large)];
  const upload = (peer: RunningPeer, name: string) =>
    add(rig, peer, fileOf(rig, `r10-${round}-${name}`, FILE_SIZE_BYTES), 'copies=2');
  ledger.tried('partitions');

  const doomed = [await upload(left, 'doomed-left'), await upload(right, 'doomed-right')];
  await upload(right, 'before');
  await untilAllSafe(rig, left, NOTICED_WITHIN_MS);
  await rig.inject(`cut ${SMALL_SIDE}|${PEERS - SMALL_SIDE}`, async () => {
    await network.cut(new Set(small.map((peer) => peers.indexOf(peer))));
    await untilSeen(small);
    await untilSeen(large);
  });
  await upload(left, 'left');
  await upload(right, 'right');
  // Each deletion meets a later change from the other side, which must not undo it.
  for (const [index, [here, there]] of [[left, right] as const, [right, left] as const].entries()) {
    const file = at(doomed, index);
    await remove(here.discovery, file.cid);
    model.forget(file);
    await change(there.discovery, file.cid, { name: 'changed' }).catch(() => undefined); // gone there already
  }
  const healedAtMs = performance.now();
  await rig.inject('heal', () => network.heal());
  await untilAllSee(peers, peers.length);
  await untilAgreed(rig);
  ledger.sample('agreed', performance.now() - healedAtMs);
  await untilAllSafe(rig, right, AGREED_WITHIN_MS);
  await compare(model, peers, ledger, rig);
}

/** Each of these sees these, and nobody else. */
async function untilSeen(side: readonly RunningPeer[]): Promise<void> {
  for (const peer of side)
    await eventually(
      `${peer.peerId} sees ${side.length} peers`,
      async () => (await listAlive(peer)).length === side.length,
      { timeoutMs: NOTICED_WITHIN_MS },
    );
}

async function untilAgreed({ stage, model, signal }: Rig): Promise<void> {
  const expected = model
    .live()
    .map(({ cid, name }) => `${cid} ${name}`)
    .toSorted()
    .join();
  await eventually(
    'all peers list the same files',
    async () => {
      signal.throwIfAborted();
      const lists = await Promise.all(stage.peers.map((peer) => listFiles(peer.discovery)));
      return lists.every(
        (files) =>
          files
            .map(({ cid, name }) => `${cid} ${name}`)
            .toSorted()
            .join() === expected,
      );
    },
    { timeoutMs: AGREED_WITHIN_MS },
  );
}
