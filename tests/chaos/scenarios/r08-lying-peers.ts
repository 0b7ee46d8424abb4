import { MiB } from '@shoal/protocol';
import {
  BAD_MANNERS,
  type BadManner,
  type BadStorage,
  metric,
  type RunningPeer,
  turnBad,
} from '@shoal/testkit';
import { formatMs, quantile } from '../ledger.ts';
import { nameOf } from '../model.ts';
import { add, at, fileOf, read, revive, type Rig, type Scenario } from '../rig.ts';
import { steadySwarm } from '../stage.ts';

const FILE_SIZE_BYTES = 16 * MiB;
const MANNERS = Object.keys(BAD_MANNERS) as BadManner[];

export const lyingPeers: Scenario = {
  id: 'R8',
  promise: 'two of five send wrong bytes, hang, break off or never end: no wrong byte goes out',
  open: steadySwarm,
  scale: { short: MANNERS.length, long: 10 * MANNERS.length },
  async run(rig) {
    const { peers } = rig.stage;
    for (let round = 0; round < rig.scale; round += 1) {
      const random = rig.random.fork(round);
      const manner = at(MANNERS, round % MANNERS.length);
      const file = await add(rig, at(peers, 0), fileOf(rig, `r8-${round}`, FILE_SIZE_BYTES));
      const liars = random.sample(peers, 2);
      const readers = peers.filter((peer) => !liars.includes(peer));
      const before = await blocksFetched(readers);
      await withLiars(rig, liars, manner, async (bad) => {
        await Promise.all(readers.map((reader) => read(rig, file, reader, 'read')));
        rig.ledger.tried(
          'requests to liars',
          bad.reduce((sum, { requests }) => sum + requests, 0),
        );
      });
      rig.ledger.tried('blocks fetched', (await blocksFetched(readers)) - before);
      await revive(peers);
    }
    rig.ledger.figure('median', formatMs(quantile(rig.ledger.samples('read'), 0.5)));
    rig.ledger.figure('p95', formatMs(quantile(rig.ledger.samples('read'), 0.95)));
  },
};

async function withLiars(
  rig: Rig,
  liars: readonly RunningPeer[],
  manner: BadManner,
  act: (bad: readonly BadStorage[]) => Promise<void>,
): Promise<void> {
  await using turned = new AsyncDisposableStack();
  const bad: BadStorage[] = [];
  for (const liar of liars)
    await rig.inject(`${nameOf(liar)}: ${manner}`, async () => {
      bad.push(turned.use(await turnBad(liar, manner)));
    });
  await act(bad);
}

async function blocksFetched(peers: readonly RunningPeer[]): Promise<number> {
  const counts = await Promise.all(
    peers.map(({ transfer }) =>
      metric(transfer, 'shoal_transfer_blocks_fetched_total', { source: 'peer' }),
    ),
  );
  return counts.reduce((sum, count) => sum + count, 0);
}
