/**
 * Blocks on this peer's disk. What the index says is the truth: a block is held from the moment its
 * record is durable (its bytes were before) until the record is gone (its bytes go after). So a
 * crash at any point loses nothing that was acknowledged, and leaves at most bytes that nobody
 * knows, which the next start removes.
 *
 * All changes pass through one commit queue, so each sees the outcome of the one before.
 */
import { createHash } from 'node:crypto';
import { access, constants, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Log } from '@shoal/chassis';
import {
  BLOCK_SIZE_MAX_BYTES,
  type Lease,
  MiB,
  Problem,
  RequestInvalid,
  StorageFull,
} from '@shoal/protocol';
import { type BlockFiles, type Draft, openBlockFiles } from './block-files.ts';
import { type BlockIndex, type IndexChanges, openBlockIndex } from './block-index.ts';
import type { BlockBytes, BlockRecord, Blockstore, Digest } from './blockstore.ts';
import { createBufferPool } from './buffers.ts';
import { createCommitQueue } from './commit.ts';
import { readDomain } from './domain.ts';
import { createLeases } from './leases.ts';
import { lockFolder } from './lock.ts';
import type { Metrics } from './metrics.ts';
import { recordAfterKeep, recordAfterPut, SMALL_BLOCK_SIZE_MAX_BYTES } from './records.ts';
import { mayRetire } from './retire.ts';
import { isFullError, openRoom } from './room.ts';
import { startStraySweep } from './strays.ts';

/** One commit: more gains nothing and keeps the first one waiting (measured: 16 MiB a sync). */
const BATCH_BLOCKS_MAX = 64;
const BATCH_SIZE_MAX_BYTES = 16 * MiB;
/** Records changed in one transaction of a long task, so that puts get their turn in between. */
const SLICE_BLOCKS = 512;
/** Buffers for the rare block above 1 MiB. */
const LARGE_READS_MAX = 4;
/** How often idle leases are looked for, at most. */
const LEASE_CHECK_MS = 60_000;

export interface DiskBlockstoreOptions {
  readonly dir: string;
  readonly isDurable: boolean;
  readonly capacityBytes: number | undefined;
  readonly reserveBytes: number;
  readonly readsMax: number;
  readonly waitingMax: number;
  readonly leaseIdleMs: number;
  readonly nowMs: () => number;
  readonly metrics: Metrics;
  readonly log: Log;
}

interface Put {
  readonly digest: Digest;
  readonly bytes: Uint8Array;
  readonly lease: Lease | undefined;
  /** Written ahead, while other batches commit; undefined for a small block, and for one that was held. */
  readonly draft: Draft | undefined;
}
type PutResult = { readonly isNew: boolean };

/** @throws ConfigError when another process serves the folder. */
export async function openDiskBlockstore(options: DiskBlockstoreOptions): Promise<Blockstore> {
  const { dir, isDurable, nowMs, metrics, log } = options;
  await using stack = new AsyncDisposableStack();
  await mkdir(dir, { recursive: true });
  stack.use(lockFolder(join(dir, 'lock')));
  const files = await openBlockFiles(dir, { isDurable });
  const index = stack.use(openBlockIndex(join(dir, 'index'), { isDurable }));
  const leases = createLeases();
  const retired = new Set<Digest>();
  const totals = { blocks: 0, usedBytes: 0 };
  let failure: string | undefined;

  for (const [digest, { sizeBytes, lease }] of index.all()) {
    totals.blocks += 1;
    totals.usedBytes += sizeBytes;
    if (lease !== undefined) leases.hold(lease, digest, { isProvisional: true, nowMs: nowMs() });
  }
  const room = await openRoom({
    folder: dir,
    capacityBytes: options.capacityBytes,
    reserveBytes: options.reserveBytes,
    usedBytes: () => totals.usedBytes,
    nowMs,
  });
  const domain = readDomain(dir);
  const pools = createReadPools(options);

  const probe = async (digest: Digest): Promise<number | undefined> => {
    const record = index.find(digest);
    if (record?.place !== 'file') return record?.sizeBytes;
    return (await files.sizeOf(digest)) === record.sizeBytes ? record.sizeBytes : undefined;
  };

  const commit = async (puts: readonly Put[]): Promise<(PutResult | Error)[]> => {
    const endTimer = metrics.commitDuration.startTimer();
    const welcome = puts.filter(({ lease }) => lease === undefined || !leases.isEnded(lease));
    const groups = Map.groupBy(welcome, ({ digest }) => digest);
    const sound = new Set<Digest>();
    await Promise.all(
      [...groups.keys()].map(async (digest) => {
        if ((await probe(digest)) !== undefined) sound.add(digest);
      }),
    );
    const missing = [...groups].filter(([digest]) => !sound.has(digest));
    const failed = await writeFiles(files, missing);
    const spare = puts.filter(
      ({ draft, digest }) => draft !== undefined && draft !== failed.used.get(digest),
    );
    for (const { draft } of spare) if (draft !== undefined) files.discard(draft);

    const changes = [...groups]
      .filter(([digest]) => !failed.errors.has(digest))
      .flatMap(([digest, group]) => {
        const bytes = group[0]?.bytes ?? new Uint8Array();
        const isSound = sound.has(digest);
        const record = recordAfterPut(index.find(digest), {
          sizeBytes: bytes.length,
          leases: group.map(({ lease }) => lease),
          isSound,
          nowMs: nowMs(),
        });
        if (record === undefined) return [];
        return [{ digest, record, bytes: isSound || record.place === 'file' ? undefined : bytes }];
      });
    const before = new Map(changes.map(({ digest }) => [digest, index.find(digest)]));
    try {
      await index.write({ put: changes });
    } catch (error) {
      for (const [digest, record] of before)
        if (record === undefined) await files.remove(digest).catch(() => {}); // a stray: found at the next start
      throw error;
    }
    for (const { digest, record } of changes) {
      const old = before.get(digest);
      totals.blocks += old === undefined ? 1 : 0;
      totals.usedBytes += record.sizeBytes - (old?.sizeBytes ?? 0);
    }
    for (const [digest, group] of groups) {
      if (failed.errors.has(digest)) continue;
      const isFirst = before.has(digest) && before.get(digest) === undefined;
      const isProvisional = isFirst && group.every(({ lease }) => lease !== undefined);
      for (const { lease } of group)
        if (lease === undefined) leases.settle(digest);
        else leases.hold(lease, digest, { isProvisional, nowMs: nowMs() });
      retired.delete(digest);
    }
    metrics.commitBlocks.observe(puts.length);
    endTimer();
    const claimed = new Set<Digest>();
    return puts.map((put) => {
      if (put.lease !== undefined && leases.isEnded(put.lease)) return leaseEnded(put.lease);
      const error = failed.errors.get(put.digest);
      if (error !== undefined) return error;
      // Of several equal blocks in one batch only the first is new.
      const isNew = !sound.has(put.digest) && !claimed.has(put.digest);
      claimed.add(put.digest);
      return { isNew };
    });
  };
  const queue = createCommitQueue<Put, PutResult>(commit, {
    itemsMax: BATCH_BLOCKS_MAX,
    sizeMaxBytes: BATCH_SIZE_MAX_BYTES,
    sizeOf: ({ bytes }) => bytes.length,
  });

  /** Only inside the queue. The record goes first: bytes without a record are nothing. */
  const remove = async (digests: readonly Digest[], reason: 'dropped' | 'given-up') => {
    const found = digests.flatMap((digest) => {
      const record = index.find(digest);
      return record === undefined ? [] : [{ digest, record }];
    });
    await index.write({ remove: found.map(({ digest }) => digest) });
    for (const { digest, record } of found) {
      totals.blocks -= 1;
      totals.usedBytes -= record.sizeBytes;
      leases.forget(digest);
    }
    for (const digest of digests) retired.delete(digest);
    const inFiles = found.filter(({ record }) => record.place === 'file');
    await Promise.all(inFiles.map(({ digest }) => files.remove(digest)));
    metrics.blocksDeleted.inc({ reason }, found.length);
    return found.length;
  };
  const dropRetired = (digests: readonly Digest[], reason: 'dropped' | 'given-up') =>
    queue.alone(() =>
      remove(
        digests.filter((digest) => retired.has(digest) && !leases.isHeld(digest)),
        reason,
      ),
    );

  /** Looks again with the store to itself: meanwhile the block may have been written anew. */
  const setAside = (digest: Digest): Promise<'sound' | 'corrupt' | 'absent'> =>
    queue.alone(async () => {
      const record = index.find(digest);
      if (record === undefined) return 'absent';
      const bytes = await readWhole(index, files, digest, record);
      if (hashOf(bytes) === digest) return 'sound';
      await index.write({ remove: [digest] });
      totals.blocks -= 1;
      totals.usedBytes -= record.sizeBytes;
      leases.forget(digest);
      retired.delete(digest);
      if (record.place === 'file') await files.quarantine(digest);
      metrics.blocksCorrupt.inc();
      log.error({ digest, sizeBytes: record.sizeBytes }, 'corrupt block set aside');
      return 'corrupt';
    });

  const read = async (digest: Digest): Promise<BlockBytes | undefined> => {
    const record = index.find(digest);
    if (record === undefined) return undefined;
    const { sizeBytes } = record;
    if (record.place === 'lmdb') {
      const bytes = sizeBytes === 0 ? new Uint8Array() : index.readSmall(digest);
      if (bytes?.length === sizeBytes) return { bytes, [Symbol.dispose]() {} };
    } else {
      const pooled = await pools.take(sizeBytes);
      const bytes = pooled.buffer.subarray(0, sizeBytes);
      try {
        if ((await files.read(digest, bytes)) === sizeBytes)
          return { bytes, [Symbol.dispose]: () => pooled[Symbol.dispose]() };
      } catch (error) {
        pooled[Symbol.dispose]();
        throw error;
      }
      pooled[Symbol.dispose]();
    }
    await setAside(digest);
    return undefined;
  };

  const endLease = async (lease: Lease, keep: boolean): Promise<number> => {
    if (keep) {
      await queue.alone(() => index.write(withoutLease(index, leases.complete(lease))));
      return 0;
    }
    const orphans = await queue.alone(() => {
      const digests = leases.giveUp(lease);
      for (const digest of digests) retired.add(digest);
      return digests;
    });
    let deletedBlocks = 0;
    for (const slice of slices(orphans)) deletedBlocks += await dropRetired(slice, 'given-up');
    return deletedBlocks;
  };

  /** A full disk shows in many ways: LMDB, for one, says that it can't write. */
  const explain = async (error: unknown, sizeBytes: number): Promise<unknown> => {
    if (error instanceof Problem) return error;
    const freeBytes = await room.free();
    if (!isFullError(error) && freeBytes > sizeBytes) return error;
    return new StorageFull({ limit: 'disk space', freeBytes }, { cause: error });
  };

  stack.use(startStraySweep({ queue, files, index, log }));
  const leaseTimer = setInterval(
    () => {
      for (const lease of leases.idleSince(nowMs() - options.leaseIdleMs)) {
        log.info({ lease }, 'idle lease let go');
        endLease(lease, true).catch((err: unknown) => log.error({ err }, 'lease not ended'));
      }
    },
    Math.min(LEASE_CHECK_MS, options.leaseIdleMs),
  ).unref();
  stack.defer(() => clearInterval(leaseTimer));
  stack.defer(() => queue.idle());

  const running = stack.move();
  return {
    async put(digest, bytes, lease) {
      if (lease !== undefined && leases.isEnded(lease)) throw leaseEnded(lease);
      const isHeld = index.find(digest) !== undefined;
      try {
        using _room = isHeld ? undefined : await room.take(bytes.length);
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
    find: (digest) => index.find(digest),
    isConfirmed: (digest) => !retired.has(digest) && index.find(digest) !== undefined,
    read,
    probe,
    async check(digest) {
      if (index.find(digest) === undefined) return 'absent';
      using block = await read(digest);
      if (block === undefined) return 'corrupt';
      if (hashOf(block.bytes) === digest) return 'sound';
      return setAside(digest);
    },
    join: (lease, digests) =>
      queue.alone(async () => {
        if (leases.isEnded(lease)) throw leaseEnded(lease);
        const held = digests.map((digest) => index.find(digest) !== undefined);
        const here = digests.filter((_, at) => held[at]);
        const shared = here.filter((digest) => (index.find(digest)?.lease ?? lease) !== lease);
        await index.write(withoutLease(index, shared));
        for (const digest of here) {
          leases.hold(lease, digest, { isProvisional: false, nowMs: nowMs() });
          retired.delete(digest);
        }
        return held;
      }),
    endLease,
    async keep(entries, replicas) {
      let keptBlocks = 0;
      for (const slice of slices(entries))
        keptBlocks += await queue.alone(async () => {
          const held = slice.flatMap(({ digest, isNode }) => {
            const record = index.find(digest);
            return record === undefined ? [] : [{ digest, record, isNode }];
          });
          const put = held.flatMap(({ digest, record: old, isNode }) => {
            const record = recordAfterKeep(old, { isNode, replicas });
            return record === undefined ? [] : [{ digest, record }];
          });
          await index.write({ put });
          for (const { digest } of held) leases.settle(digest);
          for (const { digest } of put) retired.delete(digest); // wanted more than when it was retired
          return held.length;
        });
      return keptBlocks;
    },
    retire: (entries, replicas) =>
      queue.alone(() =>
        entries.map(({ digest, isNode }) => {
          const record = index.find(digest);
          if (record === undefined) return false;
          const isLeased = leases.isHeld(digest);
          if (!mayRetire(record, { isLeased, isNode, replicas })) return false;
          retired.add(digest);
          return true;
        }),
      ),
    unretire: (digests) =>
      queue.alone(() => {
        for (const digest of digests) retired.delete(digest);
      }),
    drop: (digests) => dropRetired(digests, 'dropped'),
    async stats() {
      const { capacityBytes } = room;
      return { ...totals, freeBytes: await room.free(), capacityBytes, domain };
    },
    async whyNotWritable() {
      if (failure !== undefined) return failure;
      return access(join(dir, 'tmp'), constants.W_OK).then(
        () => undefined,
        () => 'the data folder is not writable',
      );
    },
    get counts() {
      return { leases: leases.count, retired: retired.size };
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

/** Writes one file for each missing large block; tells which drafts became blocks, and what failed. */
async function writeFiles(
  files: BlockFiles,
  missing: readonly (readonly [Digest, readonly Put[]])[],
): Promise<{ used: Map<Digest, Draft>; errors: Map<Digest, Error> }> {
  const used = new Map<Digest, Draft>();
  const errors = new Map<Digest, Error>();
  await Promise.all(
    missing.map(async ([digest, group]) => {
      const [first] = group;
      if (first === undefined || first.bytes.length <= SMALL_BLOCK_SIZE_MAX_BYTES) return;
      try {
        const ready = group.find(({ draft }) => draft !== undefined)?.draft;
        used.set(digest, ready ?? (await files.draft(digest, first.bytes)));
      } catch (error) {
        errors.set(digest, error as Error);
      }
    }),
  );
  const drafts = [...used.values()];
  for (const [at, error] of (await files.publish(drafts)).entries()) {
    const draft = drafts[at];
    if (error !== undefined && draft !== undefined) errors.set(draft.digest, error);
  }
  return { used, errors };
}

/** Takes the lease off the records of these blocks: a restart then no longer ties them to it. */
function withoutLease(index: BlockIndex, digests: readonly Digest[]): IndexChanges {
  return {
    put: digests.flatMap((digest) => {
      const record = index.find(digest);
      if (record?.lease === undefined) return [];
      return [{ digest, record: { ...record, lease: undefined } }];
    }),
  };
}

/** All of a block's bytes in memory of their own; what is missing is not there. */
async function readWhole(
  index: BlockIndex,
  files: BlockFiles,
  digest: Digest,
  { place, sizeBytes }: BlockRecord,
): Promise<Uint8Array> {
  if (place === 'lmdb') return index.readSmall(digest) ?? new Uint8Array();
  const buffer = Buffer.allocUnsafeSlow(sizeBytes);
  return buffer.subarray(0, await files.read(digest, buffer));
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
  return { take: (sizeBytes: number) => (sizeBytes <= MiB ? usual : large).take() };
}

const hashOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
const leaseEnded = (lease: Lease) =>
  new RequestInvalid({ reason: `lease ${lease} was given up, nothing can be put under it` });

function* slices<T>(items: readonly T[]): Generator<readonly T[]> {
  for (let at = 0; at < items.length; at += SLICE_BLOCKS) yield items.slice(at, at + SLICE_BLOCKS);
}
