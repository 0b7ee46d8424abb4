import { MiB, StorageFull } from '@shoal/protocol';
import {
  eventually,
  health,
  listFiles,
  type RunningPeer,
  startSwarm,
  upload,
} from '@shoal/testkit';
import { untilAllSafe } from '../destruction.ts';
import { formatMs, quantile } from '../ledger.ts';
import { compare, nameOf } from '../model.ts';
import { add, at, fileOf, revive, type Rig, type Scenario } from '../rig.ts';
import { openSmallDisk, type SmallDisk, whyNoDisk } from '../small-disk.ts';
import type { Stage } from '../stage.ts';

const DISK_SIZE_BYTES = 256 * MiB;
const FILE_SIZE_BYTES = 8 * MiB;
const RECOVERED_WITHIN_MS = 60_000;
const PEERS = 3;
/** The peer with the small disk. */
const SMALL = 2;

interface DiskStage extends Stage {
  readonly disk: SmallDisk;
}

export const diskFull: Scenario<DiskStage> = {
  id: 'R12',
  promise:
    'a full disk at upload and at repair: 507 with the reason, nothing listed that can’t be read, recovers by itself',
  open: openStage,
  scale: { short: 1, long: 10 },
  whyNot: whyNoDisk,
  async run(rig) {
    for (let round = 0; round < rig.scale; round += 1) {
      rig.ledger.tried('times full');
      await fillOnce(rig, `r12-${round}`);
    }
    rig.ledger.figure('recovered within', formatMs(quantile(rig.ledger.samples('recovered'), 1)));
  },
};

async function openStage(): Promise<DiskStage> {
  await using opening = new AsyncDisposableStack();
  const disk = opening.use(await openSmallDisk(DISK_SIZE_BYTES));
  const { peers } = opening.use(
    await startSwarm(PEERS, {
      // More than the disk has, so that it is the disk that fills up.
      env: {
        STORAGE_CAPACITY_BYTES: String(1024 * MiB),
        STORAGE_RESERVE_BYTES: String(8 * MiB),
        TRANSFER_SETTLE_DELAY_MS: '500',
        TRANSFER_SETTLE_INTERVAL_MS: '2000',
      },
      optionsOf: (index) => (index === SMALL ? { dataDir: disk.path } : {}),
    }),
  );
  const open = opening.move();
  return { peers, disk, [Symbol.asyncDispose]: () => open.disposeAsync() };
}

async function fillOnce(rig: Rig<DiskStage>, prefix: string): Promise<void> {
  const { stage, ledger, model } = rig;
  const { peers, disk } = stage;
  const [other, full] = [at(peers, 0), at(peers, SMALL)];
  await add(rig, full, fileOf(rig, `${prefix}-before`, FILE_SIZE_BYTES));
  await rig.inject('fill the disk', () => disk.fill());
  await refusedUpload(rig, full, `${prefix}-refused`);
  // Its third copy has no room: at the others it is taken, and nobody may call it safe.
  const kept = await add(rig, other, fileOf(rig, `${prefix}-kept`, FILE_SIZE_BYTES), 'copies=2');
  const { state, copies } = await health(other.discovery, kept.cid);
  if (!rig.isControl && (state === 'safe' || copies > PEERS - 1))
    ledger.blame('broken', `${kept.name} is ${state} with ${copies} copies and a full disk`);
  await compare(model, [other], ledger, rig);
  await rig.inject('kill -9 its storage', () => void full.killOne('storage'));
  await rig.inject('make room', () => disk.empty());
  const roomAtMs = performance.now();
  await revive(peers);
  await eventually(
    `${nameOf(full)} takes uploads again`,
    async () => {
      rig.signal.throwIfAborted();
      await add(rig, full, fileOf(rig, `${prefix}-after`, FILE_SIZE_BYTES), 'copies=1');
      return true;
    },
    { timeoutMs: RECOVERED_WITHIN_MS },
  );
  await untilAllSafe(rig, other, RECOVERED_WITHIN_MS);
  ledger.sample('recovered', performance.now() - roomAtMs);
  await compare(model, peers, ledger, rig);
}

/** An upload to a full disk: refused with the reason, and listed by nobody. */
async function refusedUpload(rig: Rig, peer: RunningPeer, name: string): Promise<void> {
  const { ledger, model, stage } = rig;
  const file = fileOf(rig, name, FILE_SIZE_BYTES);
  try {
    const { reply } = await upload(peer.chunker, file);
    await model.acknowledge(file, reply, ledger);
    if (!rig.isControl) ledger.tried('taken all the same');
    return;
  } catch (error) {
    const text = String(error);
    if (rig.isControl) throw error;
    ledger.tried('refused');
    if (!text.includes('refused: 507') || !text.includes(StorageFull.type))
      ledger.blame('broken', `no 507 ${StorageFull.type}: ${text}`);
  }
  for (const other of stage.peers) {
    const files = await listFiles(other.discovery);
    if (files.some((listed) => listed.name === name))
      ledger.blame('broken', `${name} was refused, and is listed by ${nameOf(other)}`);
  }
}
