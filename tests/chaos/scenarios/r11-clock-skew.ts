import { MiB } from '@shoal/protocol';
import { eventually, listFiles, remove, type RunningPeer, upload } from '@shoal/testkit';
import { type ClockStage, openClockStage } from '../clocks.ts';
import { chunkDigestsOf, listBlocks } from '../disks.ts';
import { harmedBody } from '../harmed-body.ts';
import { formatMs } from '../ledger.ts';
import { checkReadable, compare, nameOf } from '../model.ts';
import { add, at, fileOf, type Rig, type Scenario } from '../rig.ts';
import { sweepOnce } from '../upkeep.ts';

const DAY_MS = 24 * 3_600_000;
const FILE_SIZE_BYTES = 4 * MiB;
const AGREED_WITHIN_MS = 20_000;
/** How far ahead the end of a file is that ends during the test, and that of one that does not. */
const ENDS_IN_MS = 4000;
const LIVES_FOR_MS = 3_600_000;
/** Peers by what is wrong with their clocks. */
const [RIGHT, AHEAD, BEHIND] = [0, 1, 2];

export const clockSkew: Scenario<ClockStage> = {
  id: 'R11',
  promise:
    'clocks a day ahead, a day behind, and set back while running: nothing is deleted early, later deletions and uploads win',
  open: () => openClockStage(3, { STORAGE_SWEEP_GRACE_MS: '0', TRANSFER_SETTLE_DELAY_MS: '500' }),
  scale: { short: 1, long: 10 },
  async run(rig) {
    for (let round = 0; round < rig.scale; round += 1) {
      rig.ledger.tried('rounds');
      await skewOnce(rig, `r11-${round}`);
    }
  },
};

async function skewOnce(rig: Rig<ClockStage>, prefix: string): Promise<void> {
  const { stage, ledger, model } = rig;
  const { peers } = stage;
  const [right, ahead, behind] = [at(peers, RIGHT), at(peers, AHEAD), at(peers, BEHIND)];
  const setClock = (index: number, shiftMs: number) =>
    rig.inject(`clock of ${nameOf(at(peers, index))}: ${shiftMs} ms`, () =>
      stage.setClock(index, shiftMs),
    );
  await setClock(AHEAD, DAY_MS);
  await setClock(BEHIND, -DAY_MS);

  for (const [index, peer] of peers.entries())
    await add(rig, peer, fileOf(rig, `${prefix}-${index}`, FILE_SIZE_BYTES));
  await deleteAndRestore(rig, `${prefix}-again`, { ahead, behind });

  const ending = fileOf(rig, `${prefix}-ending`, FILE_SIZE_BYTES);
  const living = fileOf(rig, `${prefix}-living`, FILE_SIZE_BYTES);
  const endsAtMs = Date.now() + ENDS_IN_MS;
  await upload(right.chunker, ending, { query: `copies=1&expiresAt=${rfc3339(endsAtMs)}` });
  const ended = untilEnded(rig, right, ending.name, endsAtMs);
  ended.catch(() => undefined); // it is waited for below
  const query = `copies=2&expiresAt=${rfc3339(Date.now() + LIVES_FOR_MS)}`;
  const kept = await add(rig, right, living, query);
  await ended;
  await uploadAcrossJump(rig, `${prefix}-jump`, () => setClock(RIGHT, DAY_MS));
  await setClock(RIGHT, 0);

  // To the peer that is ahead the file has ended; its bytes must outlast the mistake all the same.
  for (const peer of peers) await sweepTwice(rig, peer);
  const held = await listBlocks(ahead);
  const lost = (await chunkDigestsOf(living)).filter((digest) => !held.has(digest));
  if (lost.length > 0)
    ledger.blame('lost', `${nameOf(ahead)} deleted ${lost.length} blocks a day too early`);
  await checkReadable(kept, right, ledger, rig);

  await setClock(AHEAD, 0);
  await setClock(BEHIND, 0);
  await untilListed(rig, peers);
  for (const peer of peers) await sweepTwice(rig, peer);
  await compare(model, peers, ledger, rig);
}

/** What the peer ahead uploaded, the peer behind deletes; what it deleted, it uploads again. */
async function deleteAndRestore(
  rig: Rig,
  name: string,
  { ahead, behind }: { readonly ahead: RunningPeer; readonly behind: RunningPeer },
): Promise<void> {
  const { model, stage } = rig;
  const file = await add(rig, ahead, fileOf(rig, name, FILE_SIZE_BYTES));
  const isListed = async (peer: RunningPeer) =>
    (await listFiles(peer.discovery)).some(({ cid }) => cid === file.cid);
  const untilAll = (what: string, expected: boolean) =>
    eventually(
      what,
      async () =>
        (await Promise.all(stage.peers.map(isListed))).every((isThere) => isThere === expected),
      { timeoutMs: AGREED_WITHIN_MS },
    );
  await untilAll('the file of the peer ahead is listed by all', true);
  await remove(behind.discovery, file.cid);
  model.forget(file);
  await untilAll('the deletion by the peer behind wins', false);
  await add(rig, behind, { name, seed: file.seed, sizeBytes: file.sizeBytes });
  await untilAll('the upload after it wins', true);
}

/** A peer whose clock is right lists a file until it ends, and not much longer. */
async function untilEnded({ ledger }: Rig, peer: RunningPeer, name: string, endsAtMs: number) {
  const endedAtMs = await eventually(
    'a file ends when it is said to',
    async () => {
      const files = await listFiles(peer.discovery);
      return files.every((file) => file.name !== name) && Date.now();
    },
    { timeoutMs: ENDS_IN_MS + AGREED_WITHIN_MS },
  );
  if (endedAtMs < endsAtMs)
    ledger.blame('broken', `${name} ended ${formatMs(endsAtMs - endedAtMs)} early`);
  else ledger.figure('ended late by', formatMs(endedAtMs - endsAtMs));
}

/** The clock jumps a day ahead in the middle of an upload, and the sweep runs before it ends. */
async function uploadAcrossJump(
  rig: Rig<ClockStage>,
  name: string,
  jump: () => Promise<void>,
): Promise<void> {
  const peer = at(rig.stage.peers, RIGHT);
  const file = fileOf(rig, name, FILE_SIZE_BYTES);
  const body = harmedBody(file, FILE_SIZE_BYTES / 2, async () => {
    await jump();
    await sweepTwice(rig, peer);
  });
  const { reply } = await upload(peer.chunker, file, { body, query: 'copies=3' });
  await rig.model.acknowledge(file, reply, rig.ledger);
}

/** What one round condemns, the next one deletes. A round that dares nothing is fine here. */
async function sweepTwice({ ledger }: Rig, peer: RunningPeer): Promise<void> {
  for (let sweeps = 0; sweeps < 2; sweeps += 1) {
    const { heldUpBy } = await sweepOnce(peer);
    ledger.tried(heldUpBy === undefined ? 'sweeps' : 'sweeps held up');
  }
}

async function untilListed({ model, signal }: Rig, peers: readonly RunningPeer[]): Promise<void> {
  for (const peer of peers)
    await eventually(
      `${nameOf(peer)} lists all files`,
      async () => {
        signal.throwIfAborted();
        const listed = new Set((await listFiles(peer.discovery)).map(({ cid }) => String(cid)));
        return model.live().every(({ cid }) => listed.has(cid));
      },
      { timeoutMs: AGREED_WITHIN_MS },
    );
}

function rfc3339(ms: number): string {
  return new Date(ms).toISOString();
}
