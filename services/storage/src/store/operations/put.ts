/**
 * A put takes room, writes the draft of a large block ahead of its turn, and joins the next batch: so bytes are
 * written while another batch is being made durable.
 *
 * A batch becomes durable by the files of its large blocks first, which are synced and renamed, then one transaction for
 * all records. A block is held from that transaction on, and what a failure leaves before it is taken away
 * again, so that a full disk never holds half a block.
 */
import assert from 'node:assert';
import { BLOCK_SIZE_MAX_BYTES, type Lease, Problem, StorageFull } from '@shoal/protocol';
import type { BlockFiles, Draft } from '../../disk/block-files.ts';
import type { BlockRecord, Digest } from '../../disk/block-record.ts';
import type { CommitQueue, Exclusive } from '../../index/commit-queue.ts';
import { recordAfterPut, SMALL_BLOCK_SIZE_MAX_BYTES } from '../../index/records.ts';
import { leaseGivenUp } from '../state/leases.ts';
import type { StoreParts } from '../state/store-parts.ts';
import { probe } from './inspect.ts';

/** How a block is put. */
export interface PutWishes {
  /** It takes room from nothing else. */
  readonly isYielding?: boolean;
  /**
   * Replicas of a pin that is about to reach the block: it is marked with them in the same transaction. Without a
   * lease it is an upload's all the same, and none of a repair.
   */
  readonly replicas?: number | undefined;
}

export interface PutBlock {
  put(
    digest: Digest,
    bytes: Uint8Array,
    lease: Lease | undefined,
    wishes?: PutWishes,
  ): Promise<PutResult>;
  /** Why the last put failed, when that was the disk's fault; undefined once one has succeeded since. */
  readonly failure: string | undefined;
}

export function createPut(
  { table, files, room, leases, metrics }: StoreParts,
  queue: Pick<CommitQueue<Put, PutResult>, 'add'>,
): PutBlock {
  let failure: string | undefined;
  return {
    async put(digest, bytes, lease, { isYielding = false, replicas } = {}) {
      assert(bytes.length <= BLOCK_SIZE_MAX_BYTES, 'a block is measured before it is put');
      if (lease !== undefined && leases.isGivenUp(lease)) throw leaseGivenUp(lease);
      const isHeld = table.held(digest) !== undefined;
      const isRepair = lease === undefined && replicas === undefined && !isYielding;
      try {
        using _room = isHeld ? undefined : await room.take(bytes.length, { isRepair });
        const isLarge = bytes.length > SMALL_BLOCK_SIZE_MAX_BYTES;
        const draft = isLarge && !isHeld ? await files.draft(digest, bytes) : undefined;
        const result = await queue.add({ digest, bytes, lease, replicas: replicas ?? 0, draft });
        failure = undefined;
        metrics.blocksWritten.inc({ outcome: result.isNew ? 'new' : 'held' });
        if (result.isNew) metrics.bytesWritten.inc(bytes.length);
        return result;
      } catch (error) {
        const problem = await room.explain(error, bytes.length);
        const isFull = problem instanceof StorageFull;
        metrics.blocksWritten.inc({ outcome: isFull ? 'full' : 'failed' });
        if (!(problem instanceof Problem)) failure = 'the last write failed; see the log';
        throw problem;
      }
    },
    get failure() {
      return failure;
    },
  };
}

export interface Put {
  readonly digest: Digest;
  readonly bytes: Uint8Array;
  readonly lease: Lease | undefined;
  /** As in `PutWishes`; 0 without a pin. */
  readonly replicas: number;
  /** Written ahead, while other batches commit; undefined for a small block, and for one that was held. */
  readonly draft: Draft | undefined;
}
export type PutResult = { readonly isNew: boolean };

/** The puts of one block in a batch. */
interface Group {
  readonly digest: Digest;
  readonly bytes: Uint8Array;
  readonly puts: readonly Put[];
  readonly before: BlockRecord | undefined;
  /** True when the bytes are here already. */
  readonly isSound: boolean;
}

/** Answers for each put its result or its error, in order. */
export async function commitPuts(
  parts: StoreParts,
  exclusive: Exclusive,
  puts: readonly Put[],
): Promise<(PutResult | Error)[]> {
  const { table, files, leases, metrics, nowMs } = parts;
  const endTimer = metrics.commitDuration.startTimer();
  const welcome = puts.filter(({ lease }) => lease === undefined || !leases.isGivenUp(lease));
  const groups = await groupPuts(parts, welcome).catch((error: unknown) => {
    for (const { draft } of puts) if (draft !== undefined) files.discard(draft);
    throw error;
  });
  const { used, errors } = await writeFiles(files, groups);
  for (const { draft, digest } of puts)
    if (draft !== undefined && draft !== used.get(digest)) files.discard(draft);
  /** Removes bytes that no record will name; the next start would find them as strays. */
  const takeBack = async (gone: { has(digest: Digest): boolean }): Promise<void> => {
    for (const { digest, before } of groups)
      if (gone.has(digest) && (before?.isDamaged ?? true))
        await files.remove(digest).catch(() => {});
  };
  await takeBack(errors);
  const durable = groups.filter(({ digest }) => !errors.has(digest));
  try {
    await table.write(exclusive, { put: durable.flatMap((group) => rowOf(group, nowMs())) });
  } catch (error) {
    await takeBack(used);
    throw error;
  }
  for (const group of durable) takeNote(parts, exclusive, group);
  metrics.commitBlocks.observe(puts.length);
  endTimer();

  // Of several equal blocks in one batch only the first is new.
  const unclaimed = new Set(groups.flatMap(({ digest, isSound }) => (isSound ? [] : [digest])));
  return puts.map(({ digest, lease }) => {
    if (lease !== undefined && leases.isGivenUp(lease)) return leaseGivenUp(lease);
    return errors.get(digest) ?? { isNew: unclaimed.delete(digest) };
  });
}

async function groupPuts(parts: StoreParts, puts: readonly Put[]): Promise<Group[]> {
  return Promise.all(
    [...Map.groupBy(puts, ({ digest }) => digest)].map(async ([digest, group]) => ({
      digest,
      bytes: group[0]?.bytes ?? new Uint8Array(),
      puts: group,
      before: parts.table.find(digest),
      isSound: (await probe(parts, digest)) !== undefined,
    })),
  );
}

/** Writes one file for each missing large block; answers which drafts became blocks, and what failed. */
async function writeFiles(
  files: BlockFiles,
  groups: readonly Group[],
): Promise<{ used: Map<Digest, Draft>; errors: Map<Digest, Error> }> {
  const used = new Map<Digest, Draft>();
  const errors = new Map<Digest, Error>();
  await Promise.all(
    groups.map(async ({ digest, bytes, puts, isSound }) => {
      if (isSound || bytes.length <= SMALL_BLOCK_SIZE_MAX_BYTES) return;
      try {
        const ready = puts.find(({ draft }) => draft !== undefined)?.draft;
        used.set(digest, ready ?? (await files.draft(digest, bytes)));
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

/** The row that the puts of a block change, if they do. */
function rowOf({ digest, bytes, puts, before, isSound }: Group, nowMs: number) {
  const leases = puts.map(({ lease }) => lease);
  const replicas = Math.max(...puts.map((put) => put.replicas));
  const sizeBytes = bytes.length;
  const record = recordAfterPut(before, { sizeBytes, leases, replicas, isSound, nowMs });
  if (record === undefined) return [];
  assert(
    record.sizeBytes === bytes.length && !record.isDamaged && record.condemnedAtMs === 0,
    'a block that was put is held, whole, and not condemned',
  );
  return [{ digest, record, bytes: isSound || record.place === 'file' ? undefined : bytes }];
}

/** Updates memory for a block once its record is durable. */
function takeNote(
  { table, leases, retired, onHealed, uptimeMs }: StoreParts,
  exclusive: Exclusive,
  { digest, puts, before }: Group,
): void {
  assert(table.held(digest) !== undefined, 'a block is held once its batch is durable');
  const isProvisional = before === undefined && puts.every(({ lease }) => lease !== undefined);
  for (const { lease } of puts)
    if (lease === undefined) leases.makePermanent(exclusive, digest);
    else leases.hold(exclusive, lease, digest, { isProvisional, nowMs: uptimeMs() });
  retired.delete(exclusive, digest);
  if (before?.isDamaged === true) onHealed();
}
