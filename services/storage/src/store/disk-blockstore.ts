/**
 * Blocks on this peer's disk. The index is the truth: a block is held from the moment its
 * record is durable (its bytes were before) until the record is gone (its bytes go after). So a
 * crash at any point loses nothing that was acknowledged, and leaves at most bytes that nobody
 * knows, which the next start removes.
 *
 * All changes pass through one commit queue, so each sees the outcome of the one before. This file
 * puts the store together; what it does is in `operations/`.
 */
import { access, constants, mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Log, Loops } from '@shoal/chassis';
import { BLOCK_SIZE_MAX_BYTES, type Lease, MiB } from '@shoal/protocol';
import { openBallast } from '../disk/ballast.ts';
import { openBlockFiles } from '../disk/block-files.ts';
import type { Digest } from '../disk/block-record.ts';
import { readDomain } from '../disk/domain.ts';
import { type FileIo, nodeFileIo } from '../disk/file-io.ts';
import { lockFolder } from '../disk/lock.ts';
import { createBufferPools } from '../disk/buffer-pools.ts';
import { openRoom } from '../disk/room.ts';
import { openBlockIndex } from '../index/block-index.ts';
import { createBlockTable } from '../index/block-table.ts';
import { createCommitQueue } from '../index/commit-queue.ts';
import type { Metrics } from '../metrics.ts';
import type { Blockstore } from './blockstore.ts';
import { createCensus } from './census.ts';
import { createCheck } from './operations/check.ts';
import { createCheckNotes } from './operations/check-notes.ts';
import { commitPuts, type Put, type PutResult } from './operations/put.ts';
import { createEndLease } from './operations/end-lease.ts';
import { probe } from './operations/inspect.ts';
import { createJoin } from './operations/join.ts';
import { createJudge } from './operations/judge.ts';
import { createMark } from './operations/mark.ts';
import { createPut } from './operations/put.ts';
import { createRead } from './operations/read.ts';
import { createRetire } from './operations/retire.ts';
import { createSetAside } from './operations/set-aside.ts';
import { Leases } from './state/leases.ts';
import { Losses } from './state/losses.ts';
import { Retired } from './state/retired.ts';
import type { OperationParts, StoreParts } from './state/store-parts.ts';
import { startStraySweep } from './strays.ts';
import { startTidying } from './tidy.ts';

/** One commit: more gains nothing and keeps the first one waiting (measured: 16 MiB a sync). */
const BATCH_BLOCKS_MAX = 64;
const BATCH_SIZE_MAX_BYTES = 16 * MiB;
const LARGE_READS_MAX = 4;

export interface DiskBlockstoreOptions {
  readonly dir: string;
  readonly isDurable: boolean;
  readonly capacityBytes: number | undefined;
  readonly reserveBytes: number;
  /** Share of the capacity that only repair may fill. */
  readonly repairShare: number;
  readonly readsMax: number;
  readonly waitingMax: number;
  readonly leaseIdleMs: number;
  /** Age from which a check is overdue. */
  readonly scrubIntervalMs: number;
  readonly nowMs: () => number;
  /** A clock that is never set back. */
  readonly uptimeMs: () => number;
  readonly loops: Loops;
  readonly metrics: Metrics;
  readonly log: Log;
  /** Replaced by tests, to see every change of the disk. */
  readonly io?: FileIo;
  readonly openIndex?: typeof openBlockIndex;
}

/** @throws ConfigError when another process serves the folder. */
export async function openDiskBlockstore(options: DiskBlockstoreOptions): Promise<Blockstore> {
  await using stack = new AsyncDisposableStack();
  const { storeParts, ballast, news } = await openParts(options, stack);
  const { table, leases, retired, room, nowMs, uptimeMs } = storeParts;
  const { loops, leaseIdleMs } = options;
  const queue = createCommitQueue<Put, PutResult>(
    (puts, exclusive) => commitPuts(storeParts, exclusive, puts),
    {
      itemsMax: BATCH_BLOCKS_MAX,
      sizeMaxBytes: BATCH_SIZE_MAX_BYTES,
      sizeOf: ({ bytes }) => bytes.length,
    },
  );
  const parts: OperationParts = { ...storeParts, alone: queue.alone };
  const domain = readDomain(options.dir);
  const pools = createBufferPools({
    what: 'block reads in flight',
    usualMax: options.readsMax,
    large: { sizeBytes: BLOCK_SIZE_MAX_BYTES, buffersMax: LARGE_READS_MAX },
    waitingMax: options.waitingMax,
  });

  const setAside = createSetAside(parts);
  const notes = createCheckNotes(parts);
  const putting = createPut(parts, queue);
  const endLease = createEndLease(parts);

  stack.use(startStraySweep(parts));
  stack.use(startTidying({ ...parts, loops, ballast, endLease, leaseIdleMs }));
  stack.defer(() => queue.idle());
  stack.use(notes);

  const running = stack.move();
  return {
    put: (digest, bytes, lease, wishes) => putting.put(digest, bytes, lease, wishes),
    find: (digest) => table.held(digest),
    findConfirmed(digest) {
      const record = table.held(digest);
      const isGoing = record === undefined || record.condemnedAtMs > 0 || retired.has(digest);
      return isGoing ? undefined : record;
    },
    isForGood: (digest) => !leases.isProvisional(digest),
    ...createRead(parts, { pools, setAside }),
    probe: (digest) => probe(parts, digest),
    ...createCheck(parts, { pools, notes, setAside }),
    flushChecks: () => notes.flush(),
    join: createJoin(parts),
    endLease,
    ...createMark(parts),
    ...createRetire(parts),
    scan: (after, limit) => table.scan(after, limit),
    onDamaged: (act) => void news.damageWatchers.push(act),
    judge: createJudge(parts),
    census: createCensus({ table, intervalMs: options.scrubIntervalMs, nowMs, uptimeMs }),
    async stats() {
      const { blocks, usedBytes } = table.counts;
      const { capacityBytes } = room;
      const freeBytes = await room.free();
      return { blocks, usedBytes, freeBytes, capacityBytes, limit: room.limit(), domain };
    },
    losses: storeParts.losses,
    lacking: (wish) => room.lacking(wish),
    async whyNotWritable() {
      if (putting.failure !== undefined) return putting.failure;
      return access(join(options.dir, 'tmp'), constants.W_OK).then(
        () => undefined,
        () => 'the data folder is not writable',
      );
    },
    get counts() {
      const { healed } = news;
      return { ...table.counts, leases: leases.count, retired: retired.size, healed };
    },
    get isBusy() {
      return pools.taken > 0 || queue.isBusy;
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

/** Opens what is on the disk, and reads the index once. */
async function openParts(
  options: DiskBlockstoreOptions,
  stack: AsyncDisposableStack,
): Promise<{
  readonly storeParts: StoreParts;
  readonly ballast: Awaited<ReturnType<typeof openBallast>>;
  readonly news: { readonly damageWatchers: (() => void)[]; readonly healed: number };
}> {
  const { dir, isDurable, nowMs, uptimeMs, metrics, log } = options;
  const { io = nodeFileIo, openIndex = openBlockIndex } = options;
  await mkdir(dir, { recursive: true });
  stack.use(lockFolder(join(dir, 'lock')));
  const files = await openBlockFiles(dir, { isDurable, io });
  const indexDir = join(dir, 'index');
  const index = stack.use(openIndex(indexDir, { isDurable }));
  // LMDB syncs its file, not the names of it and of its folder.
  if (isDurable) for (const folder of [indexDir, dir, dirname(dir)]) await io.syncFolder(folder);
  const ballast = await openBallast(join(dir, 'ballast'));
  const restored: [Digest, Lease][] = [];
  const losses = new Losses();
  const table = createBlockTable(
    index,
    ballast,
    ([digest, { lease }]) => {
      if (lease !== undefined) restored.push([digest, lease]);
    },
    (blocks) => losses.note(blocks),
  );
  const room = await openRoom({
    folder: dir,
    capacityBytes: options.capacityBytes,
    reserveBytes: options.reserveBytes,
    repairShare: options.repairShare,
    usedBytes: () => table.counts.usedBytes,
    uptimeMs,
  });
  const news = { damageWatchers: [] as (() => void)[], healed: 0 };
  const storeParts: StoreParts = {
    table,
    index,
    files,
    room,
    leases: new Leases(restored, { nowMs: uptimeMs() }),
    retired: new Retired(),
    losses,
    onHealed() {
      news.healed += 1;
      metrics.blocksHealed.inc();
    },
    onDamaged: () => news.damageWatchers.forEach((act) => act()),
    metrics,
    log,
    nowMs,
    uptimeMs,
  };
  return { storeParts, ballast, news };
}
