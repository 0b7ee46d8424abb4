/**
 * Blocks on this peer's disk. What the index says is the truth: a block is held from the moment its
 * record is durable (its bytes were before) until the record is gone (its bytes go after). So a
 * crash at any point loses nothing that was acknowledged, and leaves at most bytes that nobody
 * knows, which the next start removes.
 *
 * All changes pass through one commit queue, so each sees the outcome of the one before.
 */
import { access, constants, mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Log, Loops } from '@shoal/chassis';
import { BLOCK_SIZE_MAX_BYTES, type Lease, MiB, Problem, StorageFull } from '@shoal/protocol';
import { openBallast } from '../disk/ballast.ts';
import { openBlockFiles } from '../disk/block-files.ts';
import { openBlockIndex } from '../index/block-index.ts';
import { createBlockTable } from '../index/block-table.ts';
import type { BlockRecord, CheckState, Digest } from '../disk/block-record.ts';
import type { Blockstore } from './blockstore.ts';
import { createBufferPool, OWN, type Taker } from '../disk/buffers.ts';
import { createCensus } from './census.ts';
import { createCheckNotes } from './check-notes.ts';
import { createCommit, type Put, type PutResult } from './commit-puts.ts';
import { createCommitQueue } from './commit-queue.ts';
import type { DigestMarks } from '../index/digest-marks.ts';
import { readDomain } from '../disk/domain.ts';
import { type FileIo, nodeFileIo } from '../disk/file-io.ts';
import { isDamage, isSound } from './inspect.ts';
import { createJudge } from './judge.ts';
import { createLeases } from './leases.ts';
import { lockFolder } from '../disk/lock.ts';
import type { Metrics } from '../metrics.ts';
import { type Alone, leaseEnded, slices, type StoreParts } from './parts.ts';
import { recordAfterJoin, recordAfterKeep, SMALL_BLOCK_SIZE_MAX_BYTES } from '../index/records.ts';
import { removeBlocks, type RemovalReason } from './removal.ts';
import { mayRetire } from './retire.ts';
import { isFullError, openRoom } from '../disk/room.ts';
import { createSetAside } from './set-aside.ts';
import { startStraySweep } from './strays.ts';

/** One commit: more gains nothing and keeps the first one waiting (measured: 16 MiB a sync). */
const BATCH_BLOCKS_MAX = 64;
const BATCH_SIZE_MAX_BYTES = 16 * MiB;
/** Buffers for the rare block above 1 MiB. */
const LARGE_READS_MAX = 4;
/** How often idle leases are looked for, and lost ballast is restored, at most. */
const TIDY_INTERVAL_MS = 60_000;

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
  /** What tests replace, to see every change of the disk. */
  readonly io?: FileIo;
  readonly openIndex?: typeof openBlockIndex;
}

/** @throws ConfigError when another process serves the folder. */
export async function openDiskBlockstore(options: DiskBlockstoreOptions): Promise<Blockstore> {
  const { dir, isDurable, nowMs, uptimeMs, metrics, log } = options;
  await using stack = new AsyncDisposableStack();
  await mkdir(dir, { recursive: true });
  stack.use(lockFolder(join(dir, 'lock')));
  const { io = nodeFileIo, openIndex = openBlockIndex } = options;
  const files = await openBlockFiles(dir, { isDurable, io });
  const indexDir = join(dir, 'index');
  const index = stack.use(openIndex(indexDir, { isDurable }));
  // LMDB syncs its file, not the names of it and of its folder.
  if (isDurable) for (const folder of [indexDir, dir, dirname(dir)]) await io.syncFolder(folder);
  const ballast = await openBallast(join(dir, 'ballast'));
  const leases = createLeases();
  const table = createBlockTable(index, ballast, ([digest, { lease }]) => {
    if (lease !== undefined) leases.hold(lease, digest, { isProvisional: true, nowMs: uptimeMs() });
  });
  const retired = new Set<Digest>();
  let healed = 0;
  let failure: string | undefined;
  const onHealed = (): void => {
    healed += 1;
    metrics.blocksHealed.inc();
  };
  const parts: StoreParts = {
    table,
    index,
    files,
    leases,
    retired,
    onHealed,
    metrics,
    log,
    nowMs,
    uptimeMs,
  };

  const room = await openRoom({
    folder: dir,
    capacityBytes: options.capacityBytes,
    reserveBytes: options.reserveBytes,
    repairShare: options.repairShare,
    usedBytes: () => table.counts.usedBytes,
    uptimeMs,
  });
  const domain = readDomain(dir);
  const pools = createReadPools(options);

  const probe = async (digest: Digest): Promise<number | undefined> => {
    const record = table.held(digest);
    if (record?.place !== 'file') return record?.sizeBytes;
    try {
      return (await files.sizeOf(digest)) === record.sizeBytes ? record.sizeBytes : undefined;
    } catch (error) {
      if (isDamage(error)) return undefined;
      throw error;
    }
  };
  const queue = createCommitQueue<Put, PutResult>(createCommit(parts, probe), {
    itemsMax: BATCH_BLOCKS_MAX,
    sizeMaxBytes: BATCH_SIZE_MAX_BYTES,
    sizeOf: ({ bytes }) => bytes.length,
  });
  const alone: Alone = (task) => queue.alone(task);
  const checkNotes = createCheckNotes({ table, alone, log });
  const damageWatchers: (() => void)[] = [];
  const setAside = createSetAside(parts, alone, () => damageWatchers.forEach((act) => act()));
  const keepWatchers = new Set<DigestMarks>();

  const dropRetired = (digests: readonly Digest[], reason: RemovalReason) =>
    alone(() => {
      const gone = digests.filter((digest) => retired.has(digest) && !leases.isHeld(digest));
      return removeBlocks(parts, gone, reason);
    });

  const read: Blockstore['read'] = async (digest, taker = OWN) => {
    const record = table.held(digest);
    if (record === undefined) return undefined;
    const { sizeBytes } = record;
    if (record.place === 'lmdb') {
      const bytes = sizeBytes === 0 ? new Uint8Array() : index.readSmall(digest);
      if (bytes?.length === sizeBytes) return { bytes, [Symbol.dispose]() {} };
    } else {
      const pooled = await pools.take(sizeBytes, taker);
      const bytes = pooled.buffer.subarray(0, sizeBytes);
      try {
        if ((await files.read(digest, bytes)) === sizeBytes)
          return {
            bytes,
            signal: pooled.signal,
            [Symbol.dispose]: () => pooled[Symbol.dispose](),
          };
      } catch (error) {
        if (!isDamage(error)) {
          pooled[Symbol.dispose]();
          throw error;
        }
      }
      pooled[Symbol.dispose]();
    }
    await setAside(digest);
    return undefined;
  };

  const readRanges: Blockstore['readRanges'] = async (digest, choose) => {
    const record = table.held(digest);
    if (record === undefined) return undefined;
    const { sizeBytes } = record;
    const ranges = choose(sizeBytes);
    if (record.place === 'lmdb') {
      const bytes = sizeBytes === 0 ? new Uint8Array() : index.readSmall(digest);
      if (bytes?.length === sizeBytes)
        return {
          sizeBytes,
          parts: ranges.map(({ offset, length }) => bytes.subarray(offset, offset + length)),
        };
    } else {
      const parts = ranges.map(({ offset, length }) => ({ offset, bytes: new Uint8Array(length) }));
      try {
        if (await files.readParts(digest, sizeBytes, parts))
          return { sizeBytes, parts: parts.map(({ bytes }) => bytes) };
      } catch (error) {
        if (!isDamage(error)) throw error;
      }
    }
    await setAside(digest);
    return undefined;
  };

  const checkIn = async (digest: Digest, buffer: Uint8Array): Promise<CheckState> => {
    const record = table.held(digest);
    if (record === undefined) return 'absent';
    if (!(await isSound(parts, digest, record, buffer))) return setAside(digest);
    checkNotes.add(digest, { writtenAtMs: record.writtenAtMs, checkedAtMs: nowMs() });
    return 'sound';
  };

  /** A full disk shows in many ways: LMDB, for one, says that it can't write. */
  const explain = async (error: unknown, sizeBytes: number): Promise<unknown> => {
    if (error instanceof Problem) return error;
    const freeBytes = await room.free();
    if (!isFullError(error) && freeBytes > sizeBytes) return error;
    return new StorageFull({ limit: 'disk space', freeBytes }, { cause: error });
  };
  /** Changes records with the store to itself. */
  const change = async <T>(task: () => Promise<T> | T): Promise<T> => {
    try {
      return await alone(task);
    } catch (error) {
      throw await explain(error, 0);
    }
  };

  const endLease = async (lease: Lease, keep: boolean): Promise<number> => {
    if (keep) {
      await change(() => {
        const put = leases.complete(lease).flatMap((digest) => {
          const record = table.find(digest);
          if (record?.lease === undefined) return [];
          return [{ digest, record: { ...record, lease: undefined } }];
        });
        return table.write({ put }, { isFreeing: true });
      });
      return 0;
    }
    const orphans = await alone(() => {
      const digests = leases.giveUp(lease);
      for (const digest of digests) retired.add(digest);
      return digests;
    });
    let deletedBlocks = 0;
    for (const slice of slices(orphans)) deletedBlocks += await dropRetired(slice, 'given-up');
    return deletedBlocks;
  };

  stack.use(startStraySweep({ queue, files, table, log }));
  const tidyIntervalMs = Math.min(TIDY_INTERVAL_MS, options.leaseIdleMs);
  stack.use(
    options.loops.start({
      name: 'idle-leases',
      everyMs: () => tidyIntervalMs,
      run() {
        const idle = [...leases.idleSince(uptimeMs() - options.leaseIdleMs)];
        for (const lease of idle) log.info({ lease }, 'idle lease let go');
        return Promise.all(idle.map((lease) => endLease(lease, true)));
      },
      onFailure: (err) => log.error({ err }, 'lease not ended'),
    }),
  );
  stack.use(
    options.loops.start({
      name: 'ballast',
      everyMs: () => tidyIntervalMs,
      run: () => ballast.restore(),
      onFailure: (err) => log.warn({ err }, 'ballast not restored'),
    }),
  );
  stack.defer(() => queue.idle());
  stack.use(checkNotes);

  const running = stack.move();
  return {
    async put(digest, bytes, lease, { isYielding } = { isYielding: false }) {
      if (lease !== undefined && leases.isEnded(lease)) throw leaseEnded(lease);
      const isHeld = table.held(digest) !== undefined;
      const isRepair = lease === undefined && !isYielding;
      try {
        using _room = isHeld ? undefined : await room.take(bytes.length, { isRepair });
        const isLarge = bytes.length > SMALL_BLOCK_SIZE_MAX_BYTES;
        const draft = isLarge && !isHeld ? await files.draft(digest, bytes) : undefined;
        const result = await queue.add({ digest, bytes, lease, draft });
        failure = undefined;
        metrics.blocksWritten.inc({ outcome: result.isNew ? 'new' : 'held' });
        if (result.isNew) metrics.bytesWritten.inc(bytes.length);
        return result;
      } catch (error) {
        const problem = await explain(error, bytes.length);
        const isFull = problem instanceof StorageFull;
        metrics.blocksWritten.inc({ outcome: isFull ? 'full' : 'failed' });
        if (!(problem instanceof Problem)) failure = 'the last write failed; see the log';
        throw problem;
      }
    },
    find: (digest) => table.held(digest),
    findConfirmed(digest) {
      const record = table.held(digest);
      const isGoing = record === undefined || record.condemnedAtMs > 0 || retired.has(digest);
      return isGoing ? undefined : record;
    },
    isForGood: (digest) => !leases.isProvisional(digest),
    read,
    readRanges,
    probe,
    async check(digest) {
      const record = table.held(digest);
      if (record === undefined) return 'absent';
      using pooled = await pools.take(record.sizeBytes, OWN);
      return await checkIn(digest, pooled.buffer);
    },
    checkIn,
    flushChecks: () => checkNotes.flush(),
    join: (lease, digests) =>
      change(async () => {
        if (leases.isEnded(lease)) throw leaseEnded(lease);
        const held = digests.map((digest) => table.held(digest));
        const put = digests.flatMap((digest, at) => {
          const old = held[at];
          const record = old === undefined ? undefined : recordAfterJoin(old, lease, nowMs());
          return record === undefined ? [] : [{ digest, record }];
        });
        await table.write({ put });
        for (const [at, digest] of digests.entries()) {
          if (held[at] === undefined) continue;
          leases.hold(lease, digest, { isProvisional: false, nowMs: uptimeMs() });
          retired.delete(digest);
        }
        return held.map((record) => record !== undefined);
      }),
    endLease,
    async keep(entries, replicas) {
      let keptBlocks = 0;
      for (const slice of slices(entries))
        keptBlocks += await change(async () => {
          for (const marks of keepWatchers)
            for (const { digest, isNode } of slice) marks.mark(digest, { replicas, isNode });
          const kept = new Map<Digest, BlockRecord>();
          let heldBlocks = 0;
          for (const { digest, isNode } of slice) {
            const old = kept.get(digest) ?? table.find(digest);
            if (old === undefined) continue;
            const record = recordAfterKeep(old, { isNode, replicas });
            if (record !== undefined) kept.set(digest, record);
            if (!old.isDamaged) heldBlocks += 1;
          }
          await table.write({ put: [...kept].map(([digest, record]) => ({ digest, record })) });
          for (const { digest } of slice) leases.settle(digest);
          for (const digest of kept.keys()) retired.delete(digest); // wanted more than when it was retired
          return heldBlocks;
        });
      return keptBlocks;
    },
    retire: (entries, replicas) =>
      alone(() =>
        entries.map(({ digest, isNode }) => {
          const record = table.held(digest);
          if (record === undefined) return false;
          const isLeased = leases.isHeld(digest);
          if (!mayRetire(record, { isLeased, isNode, replicas })) return false;
          retired.add(digest);
          return true;
        }),
      ),
    unretire: (digests) =>
      alone(() => {
        for (const digest of digests) retired.delete(digest);
      }),
    drop: (digests) => dropRetired(digests, 'dropped'),
    scan: (after, limit) => table.scan(after, limit),
    onDamaged: (act) => void damageWatchers.push(act),
    judge: createJudge(parts, alone),
    watchKeeps(marks) {
      keepWatchers.add(marks);
      return { [Symbol.dispose]: () => void keepWatchers.delete(marks) };
    },
    census: createCensus({ table, intervalMs: options.scrubIntervalMs, nowMs, uptimeMs }),
    async stats() {
      const { blocks, usedBytes } = table.counts;
      const { capacityBytes } = room;
      const freeBytes = await room.free();
      return { blocks, usedBytes, freeBytes, capacityBytes, limit: room.limit(), domain };
    },
    lacking: (neededBytes, options) => room.lacking(neededBytes, options),
    async whyNotWritable() {
      if (failure !== undefined) return failure;
      return access(join(dir, 'tmp'), constants.W_OK).then(
        () => undefined,
        () => 'the data folder is not writable',
      );
    },
    get counts() {
      return { ...table.counts, leases: leases.count, retired: retired.size, healed };
    },
    get isBusy() {
      return pools.taken > 0 || queue.isBusy;
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

function createReadPools({ readsMax, waitingMax }: { readsMax: number; waitingMax: number }) {
  const what = 'block reads in flight';
  const usual = createBufferPool({ sizeBytes: MiB, buffersMax: readsMax, waitingMax, what });
  const large = createBufferPool({
    sizeBytes: BLOCK_SIZE_MAX_BYTES,
    buffersMax: LARGE_READS_MAX,
    waitingMax,
    what,
  });
  return {
    take: (sizeBytes: number, taker: Taker) => (sizeBytes <= MiB ? usual : large).take(taker),
    get taken() {
      return usual.taken + large.taken;
    },
  };
}
