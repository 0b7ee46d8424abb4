import { MiB, SERVICES } from '@shoal/protocol';
import { download, eventually, type ProcessName, type RunningPeer, upload } from '@shoal/testkit';
import { harmedBody } from '../harmed-body.ts';
import { formatMs, quantile } from '../ledger.ts';
import { compare, type KnownFile, nameOf } from '../model.ts';
import { redisCommand } from '../redis-command.ts';
import { add, at, fileOf, revive, type Rig, type Scenario } from '../rig.ts';
import { steadySwarm } from '../stage.ts';

const FILE_SIZE_BYTES = 8 * MiB;
/** A process starts in one to three seconds; the short form shares its cores with a second swarm. */
const BACK_WITHIN_MS = { short: 25_000, long: 5000 };
const GIVEN_UP_AFTER_MS = 30_000;
const SLOW_S = 2;
/** What the launcher gives it, see packages/cli. */
const MEMORY_MAX = '256mb';

interface Harm {
  readonly what: string;
  readonly act: (peer: RunningPeer) => Promise<unknown> | void;
  /** Ends what the harm does not end by itself. */
  readonly undo?: (peer: RunningPeer) => Promise<unknown>;
  /** How long the harm itself lasts: it is not counted as the peer's. */
  readonly lastsMs?: number;
}

const kill = (name: ProcessName): Harm => ({
  what: `kill -9 ${name}`,
  act: (peer) => void peer.killOne(name),
});

const HARMS: readonly Harm[] = [
  { what: 'FLUSHALL', act: (peer) => redisCommand(peer, 'FLUSHALL') },
  kill('redis'),
  {
    what: 'Redis answers nobody',
    act: (peer) => redisCommand(peer, `CLIENT PAUSE ${SLOW_S * 1000} ALL`),
    lastsMs: SLOW_S * 1000,
  },
  {
    what: 'Redis out of memory',
    act: (peer) => redisCommand(peer, 'CONFIG SET maxmemory 1'),
    undo: (peer) => redisCommand(peer, `CONFIG SET maxmemory ${MEMORY_MAX}`),
  },
  ...SERVICES.map(kill),
];

export const redisAndServices: Scenario = {
  id: 'R13',
  promise:
    'Redis emptied, killed, slow or full, and each service killed, during uploads and downloads: nothing lost, service back within 5 s',
  open: steadySwarm,
  scale: { short: HARMS.length, long: 200 },
  async run(rig) {
    const { peers } = rig.stage;
    const known = await add(rig, at(peers, 0), fileOf(rig, 'r13', FILE_SIZE_BYTES));
    for (let round = 0; round < rig.scale; round += 1) {
      const peer = rig.random.fork(round).pick(peers);
      await harmOnce(rig, peer, known, round, at(HARMS, round % HARMS.length));
    }
    await compare(rig.model, peers, rig.ledger, rig);
    const back = rig.ledger.samples('back');
    rig.ledger.figure('back within', formatMs(quantile(back, 1)));
    rig.ledger.figure('median', formatMs(quantile(back, 0.5)));
  },
};

/** Harms a peer in the middle of an upload to it and a download from it, then sees when both work again. */
async function harmOnce(
  rig: Rig,
  peer: RunningPeer,
  known: KnownFile,
  round: number,
  { what, act, undo, lastsMs = 0 }: Harm,
): Promise<void> {
  const { ledger, model } = rig;
  ledger.tried('rounds');
  const file = fileOf(rig, `r13-${round}`, FILE_SIZE_BYTES);
  const backAfter = async (harmLastsMs: number): Promise<number> => {
    const harmedAtMs = performance.now();
    await untilServes(rig, peer, known, round);
    return Math.max(0, performance.now() - harmedAtMs - harmLastsMs);
  };
  let back: Promise<number> | undefined;
  const body = harmedBody(file, rig.random.fork(round).int(1, FILE_SIZE_BYTES), async () => {
    await rig.inject(`${what} at ${nameOf(peer)}`, () => act(peer));
    if (undo === undefined) back = backAfter(lastsMs);
    back?.catch(() => undefined); // it is waited for below
  });
  const uploading = upload(peer.gateway, file, { body, query: 'copies=2' }).then(
    ({ reply }) => model.acknowledge(file, reply, ledger),
    () => ledger.tried('uploads cut'),
  );
  const downloading = download(peer.gateway, known.cid).then(
    ({ status, sha256 }) => {
      if (status === 200 && sha256 !== known.sha256) ledger.blame('corrupt', `during ${what}`);
    },
    () => ledger.tried('downloads cut'),
  );
  await Promise.all([uploading, downloading]);
  if (undo !== undefined) await rig.inject(`no longer: ${what}`, () => undo(peer));
  const backMs = await (back ?? backAfter(0));
  ledger.sample('back', backMs);
  if (backMs > BACK_WITHIN_MS[rig.isShort ? 'short' : 'long'])
    ledger.blame('broken', `${formatMs(backMs)} until ${nameOf(peer)} serves after ${what}`);
  await revive(rig.stage.peers);
}

/** A download and a small upload that both succeed. */
async function untilServes(rig: Rig, peer: RunningPeer, known: KnownFile, round: number) {
  const small = fileOf(rig, `r13-${round}-after`, 1000);
  await eventually(
    `${nameOf(peer)} serves again`,
    async () => {
      rig.signal.throwIfAborted();
      const { sha256 } = await download(peer.gateway, known.cid);
      if (sha256 !== known.sha256) return false;
      const { reply } = await upload(peer.gateway, small, { query: 'copies=1' });
      await rig.model.acknowledge(small, reply, rig.ledger);
      return true;
    },
    { timeoutMs: GIVEN_UP_AFTER_MS },
  );
}
