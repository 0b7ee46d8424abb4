import { KiB, MiB, PeersReply } from '@shoal/protocol';
import {
  change,
  eventually,
  health,
  listFiles,
  metric,
  remove,
  type RunningPeer,
  startSwarm,
} from '@shoal/testkit';
import { chunkDigestsOf, listBlocks } from '../disks.ts';
import { formatMs } from '../ledger.ts';
import { LIES, type Lie, type LyingStorage, startLying } from '../lying-storage.ts';
import { compare, type KnownFile, nameOf } from '../model.ts';
import { add, at, fileOf, pass, revive, type Rig, type Scenario } from '../rig.ts';
import type { Opener } from '../stage.ts';

const SIZES_BYTES = [100 * KiB, 2 * MiB + 1];
const UPLOADS_PER_ROUND = 2;
const FILES_FIRST = 6;
/** Live files at most: the oldest is deleted then. */
const FILES_MAX = 40;
const ROUND_MS = 2000;
/** Rounds between two times that an honest peer goes, for longer than the others wait for it. */
const ROUNDS_PER_ABSENCE = 6;
const AWAY_MS = 8000;
const NAMED_WITHIN_MS = 120_000;
const SAFE_WITHIN_MS = 120_000;
const LOOK_EVERY_MS = 1000;
/** A file whose upload was answered a moment ago may be on its way between disks. */
const LOSS_SLACK_MS = 2000;

/** Five peers that can have their storages replaced, and give up on an absent one within seconds. */
const liarSwarm: Opener = () =>
  startSwarm(5, {
    env: {
      MEMBER_OUT_AFTER_MS: '5000',
      TRANSFER_SETTLE_DELAY_MS: '500',
      TRANSFER_SETTLE_INTERVAL_MS: '5000',
      DISCOVERY_PROOF_INTERVAL_MS: '3000',
      STORAGE_SWEEP_GRACE_MS: '0',
    },
  });

export const liars: Scenario = {
  id: 'R22',
  promise:
    'two of five say yes to everything and keep nothing, through uploads, drops and repairs: no block is lost that honest peers held, and the two are named',
  open: liarSwarm,
  // Rounds of uploads and changes; the long form takes ten minutes.
  scale: { short: 8, long: 150 },
  async run(rig) {
    const { stage, random, ledger } = rig;
    const lying = random.sample(stage.peers, 2);
    const honest = stage.peers.filter((peer) => !lying.includes(peer));
    const files: KnownFile[] = [];
    for (let index = 0; index < FILES_FIRST; index += 1)
      files.push(await upload(rig, honest, `r22-first-${index}`, [3])); // one of them is honest

    await using turned = new AsyncDisposableStack();
    const storages: LyingStorage[] = [];
    for (const [index, liar] of lying.entries()) {
      const lie: Lie = at(LIES, index);
      await rig.inject(`${nameOf(liar)} ${lie}`, async () => {
        storages.push(turned.use(await startLying(liar, lie)));
      });
    }
    const startedAtMs = performance.now();
    // In the control nobody lies: all five keep what they should.
    const watch = watchDisks(rig, rig.isControl ? stage.peers : honest, files);
    const rounds = rig.isControl ? 4 : rig.scale;
    for (let round = 0; round < rounds; round += 1) await playRound(rig, honest, files, round);
    await revive(honest);
    if (storages.length > 0) await untilNamed(rig, honest, lying, startedAtMs);
    // With three honest peers and three copies each of them ends with all.
    await untilSafe(rig, honest, files);
    await watch.stop();
    await compare(rig.model, honest, ledger, rig);
    await checkHealth(rig, honest, files);
    const sum = (count: (storage: LyingStorage) => number) =>
      storages.reduce((total, storage) => total + count(storage), 0);
    ledger.figure(
      'thrown away by liars',
      sum(({ thrownAway }) => thrownAway),
    );
    ledger.figure(
      'proofs asked of liars',
      sum(({ asked }) => asked),
    );
    await ledgerOfDrops(rig, honest);
  },
};

async function upload(
  rig: Rig,
  honest: readonly RunningPeer[],
  name: string,
  copies: readonly number[] = [2, 3],
): Promise<KnownFile> {
  const choice = rig.random.fork(name);
  const replicas = choice.pick(copies);
  const file = fileOf(rig, name, choice.pick(SIZES_BYTES));
  rig.ledger.tried('uploads');
  return add(rig, choice.pick(honest), file, `copies=1&replicas=${replicas}`);
}

/** Uploads, a file that is to have fewer copies and one that is to have more, a deletion; now and then an absence. */
async function playRound(
  rig: Rig,
  honest: readonly RunningPeer[],
  files: KnownFile[],
  round: number,
): Promise<void> {
  const choice = rig.random.fork(`round-${round}`);
  for (let index = 0; index < UPLOADS_PER_ROUND; index += 1)
    files.push(await upload(rig, honest, `r22-${round}-${index}`));
  for (const replicas of [2, 3]) {
    await change(choice.pick(honest).discovery, choice.pick(files).cid, { replicas });
    rig.ledger.tried('changes of copies');
  }
  while (files.length > FILES_MAX) {
    const [oldest] = files.splice(0, 1);
    if (oldest === undefined) break;
    await remove(choice.pick(honest).discovery, oldest.cid);
    rig.model.forget(oldest);
  }
  if (round % ROUNDS_PER_ABSENCE === ROUNDS_PER_ABSENCE - 1) {
    const peer = choice.pick(honest);
    await rig.inject(`${nameOf(peer)} is killed for ${formatMs(AWAY_MS)}`, () => peer.kill());
    await pass(rig.isControl ? 0 : AWAY_MS, rig);
    await revive(honest);
    rig.ledger.tried('absences');
  }
  await pass(ROUND_MS, rig);
}

/** Blames every chunk of a live file that no honest peer has on its disk, while it is so. */
function watchDisks(rig: Rig, honest: readonly RunningPeer[], files: readonly KnownFile[]) {
  const stopping = new AbortController();
  const signal = AbortSignal.any([rig.signal, stopping.signal]);
  const digests = new Map<string, { digests: readonly string[]; sinceMs: number }>();
  const blamed = new Set<string>();
  const look = async (): Promise<void> => {
    const due = [...files];
    for (const file of due)
      if (!digests.has(file.cid))
        digests.set(file.cid, { digests: await chunkDigestsOf(file), sinceMs: performance.now() });
    const held = new Set((await Promise.all(honest.map(listBlocks))).flatMap((each) => [...each]));
    for (const { cid, name } of due) {
      const known = digests.get(cid);
      if (known === undefined || performance.now() - known.sinceMs < LOSS_SLACK_MS) continue;
      if (!files.some((file) => file.cid === cid)) continue; // deleted meanwhile
      rig.ledger.tried('looks at chunks', known.digests.length);
      const lost = known.digests.filter((digest) => !held.has(digest));
      if (lost.length === 0 || blamed.has(cid)) continue;
      blamed.add(cid);
      rig.ledger.blame(
        'lost',
        `${lost.length} blocks of ${name}: no honest peer has them any more`,
      );
    }
  };
  const watching = (async () => {
    while (!signal.aborted) {
      await look();
      await pass(LOOK_EVERY_MS, { signal }).catch(() => undefined); // stopped: the loop's end
    }
    await look();
  })();
  watching.catch(() => undefined); // it is told by stop()
  return {
    async stop() {
      stopping.abort();
      await watching;
    },
  };
}

/** Until every honest peer names both liars, and nobody else, in `/peers` and in its metrics. */
async function untilNamed(
  rig: Rig,
  honest: readonly RunningPeer[],
  lying: readonly RunningPeer[],
  startedAtMs: number,
): Promise<void> {
  const expected = lying.map(({ peerId }) => String(peerId)).toSorted();
  let said = '';
  await eventually(
    () => `the liars are named: ${said}`,
    async () => {
      const named = await Promise.all(honest.map(distrustedBy));
      const counts = await Promise.all(
        honest.map(({ discovery }) => metric(discovery, 'shoal_discovery_distrusted_members')),
      );
      said = JSON.stringify({ named, counts });
      return (
        counts.every((count) => count === lying.length) &&
        named.every((peers) => peers.join(' ') === expected.join(' '))
      );
    },
    { timeoutMs: NAMED_WITHIN_MS },
  ).catch((error: unknown) => rig.ledger.blame('broken', String(error)));
  for (const { discovery } of honest)
    for (const peer of expected)
      if ((await metric(discovery, 'shoal_discovery_unproved_blocks', { peer })) === 0)
        rig.ledger.blame('broken', `a liar failed nothing in the metrics of ${discovery}`);
  rig.ledger.figure('named at the latest after', formatMs(performance.now() - startedAtMs));
}

async function distrustedBy({ gateway }: RunningPeer): Promise<string[]> {
  const answer = await fetch(`${gateway}/peers`);
  const { peers } = PeersReply.parse(await answer.json());
  return peers
    .filter(({ isDistrusted }) => isDistrusted === true)
    .map(({ peerId }) => String(peerId))
    .toSorted();
}

/** Until every file has its copies, by the words of honest peers. */
async function untilSafe(
  rig: Rig,
  honest: readonly RunningPeer[],
  files: readonly KnownFile[],
): Promise<void> {
  let left = '';
  await eventually(
    () => `all files are safe: ${left}`,
    async () => {
      const lists = await Promise.all(honest.map(({ discovery }) => listFiles(discovery)));
      const known = new Set(files.map(({ cid }) => cid));
      const unsafe = lists
        .flat()
        .filter(({ cid, state }) => known.has(cid) && state !== 'safe')
        .map(
          ({ name, state, copies, causes }) =>
            `${name} ${state} ${copies} ${JSON.stringify(causes)}`,
        );
      left = unsafe.slice(0, 3).join('; ');
      return unsafe.length === 0;
    },
    { timeoutMs: SAFE_WITHIN_MS },
  ).catch((error: unknown) => rig.ledger.blame('broken', String(error)));
}

/** That no copy of a liar counts, and that those which count are on the disks. */
async function checkHealth(
  { ledger, isControl }: Rig,
  honest: readonly RunningPeer[],
  files: readonly KnownFile[],
): Promise<void> {
  if (isControl) return; // all five are honest
  const disks = await Promise.all(honest.map(listBlocks));
  for (const file of files) {
    const digests = await chunkDigestsOf(file);
    const most = Math.min(
      ...digests.map((digest) => disks.filter((held) => held.has(digest)).length),
    );
    for (const peer of honest) {
      ledger.tried('health samples');
      const { copies, claimed, proved } = await health(peer.discovery, file.cid);
      const figures = `${copies} copies, ${proved} proved, ${claimed} claimed, ${most} on disks`;
      if (copies > most || proved > copies || claimed < copies)
        ledger.blame('broken', `${file.name} at ${nameOf(peer)}: ${figures}`);
    }
  }
}

async function ledgerOfDrops({ ledger }: Rig, honest: readonly RunningPeer[]): Promise<void> {
  const sum = async (name: string) => {
    const counts = await Promise.all(honest.map(({ transfer }) => metric(transfer, name)));
    return counts.reduce((total, count) => total + count, 0);
  };
  ledger.figure('blocks dropped by honest peers', await sum('shoal_transfer_blocks_dropped_total'));
  ledger.figure('blocks repaired', await sum('shoal_transfer_repairs_total'));
}
