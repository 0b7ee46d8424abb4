/**
 * How a batch of puts becomes durable: the files of large blocks first, then one transaction for all
 * records. A block is held from that transaction on, and what a failure leaves before it is taken
 * away again, so that a full disk never holds half a block.
 */
import assert from 'node:assert';
import type { Lease } from '@shoal/protocol';
import type { BlockFiles, Draft } from '../../disk/block-files.ts';
import type { BlockRecord, Digest } from '../../disk/block-record.ts';
import type { IndexChanges } from '../../index/block-index.ts';
import type { Exclusive } from '../../index/commit-queue.ts';
import { recordAfterPut, SMALL_BLOCK_SIZE_MAX_BYTES } from '../../index/records.ts';
import { leaseGivenUp } from '../state/leases.ts';
import type { StoreParts } from '../state/store-parts.ts';
import { probe } from './inspect.ts';

export interface Put {
  readonly digest: Digest;
  readonly bytes: Uint8Array;
  readonly lease: Lease | undefined;
  /** Written ahead, while other batches commit; undefined for a small block, and for one that was held. */
  readonly draft: Draft | undefined;
}
export type PutResult = { readonly isNew: boolean };

/** The puts of a batch by block, those under a lease that was given up left out. */
type Groups = ReadonlyMap<Digest, readonly Put[]>;

/** Answers for each put its result or its error, in order. */
export async function commitPuts(
  parts: StoreParts,
  exclusive: Exclusive,
  puts: readonly Put[],
): Promise<(PutResult | Error)[]> {
  const { table, files, leases, metrics } = parts;
  const endTimer = metrics.commitDuration.startTimer();
  const welcome = puts.filter(({ lease }) => lease === undefined || !leases.isGivenUp(lease));
  const groups: Groups = Map.groupBy(welcome, ({ digest }) => digest);
  const sound = await findSound(parts, groups).catch((error: unknown) => {
    for (const { draft } of puts) if (draft !== undefined) files.discard(draft);
    throw error;
  });
  const missing = [...groups].filter(([digest]) => !sound.has(digest));
  const { used, errors } = await writeFiles(files, missing);
  for (const { draft, digest } of puts)
    if (draft !== undefined && draft !== used.get(digest)) files.discard(draft);

  const before = new Map([...groups.keys()].map((digest) => [digest, table.find(digest)]));
  /** Bytes that no record will speak for; were they left, the next start would find them. */
  const takeBack = async (digests: Iterable<Digest>): Promise<void> => {
    for (const digest of digests)
      if (before.get(digest)?.isDamaged ?? true) await files.remove(digest).catch(() => {});
  };
  await takeBack(errors.keys());
  const durable: Groups = new Map([...groups].filter(([digest]) => !errors.has(digest)));
  try {
    const put = rowsOf(durable, { before, sound, nowMs: parts.nowMs() });
    await table.write(exclusive, { put });
  } catch (error) {
    await takeBack(used.keys());
    throw error;
  }
  for (const [digest, group] of durable)
    takeNote(parts, exclusive, { digest, group, before: before.get(digest) });
  metrics.commitBlocks.observe(puts.length);
  endTimer();

  const claimed = new Set<Digest>();
  return puts.map(({ digest, lease }) => {
    if (lease !== undefined && leases.isGivenUp(lease)) return leaseGivenUp(lease);
    const error = errors.get(digest);
    if (error !== undefined) return error;
    // Of several equal blocks in one batch only the first is new.
    const isNew = !sound.has(digest) && !claimed.has(digest);
    claimed.add(digest);
    return { isNew };
  });
}

/** The blocks whose bytes are here already. */
async function findSound(parts: StoreParts, groups: Groups): Promise<ReadonlySet<Digest>> {
  const sound = new Set<Digest>();
  await Promise.all(
    [...groups.keys()].map(async (digest) => {
      if ((await probe(parts, digest)) !== undefined) sound.add(digest);
    }),
  );
  return sound;
}

/** Writes one file for each missing large block; answers which drafts became blocks, and what failed. */
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

/** The rows that the batch changes. */
function rowsOf(
  durable: Groups,
  {
    before,
    sound,
    nowMs,
  }: {
    readonly before: ReadonlyMap<Digest, BlockRecord | undefined>;
    readonly sound: ReadonlySet<Digest>;
    readonly nowMs: number;
  },
): NonNullable<IndexChanges['put']> {
  return [...durable].flatMap(([digest, group]) => {
    const bytes = group[0]?.bytes ?? new Uint8Array();
    const isSound = sound.has(digest);
    const leases = group.map(({ lease }) => lease);
    const record = recordAfterPut(before.get(digest), {
      sizeBytes: bytes.length,
      leases,
      isSound,
      nowMs,
    });
    if (record === undefined) return [];
    assert(
      record.sizeBytes === bytes.length && !record.isDamaged && record.condemnedAtMs === 0,
      'a block that was put is held, whole, and not condemned',
    );
    return [{ digest, record, bytes: isSound || record.place === 'file' ? undefined : bytes }];
  });
}

/** What memory says of a block once its record is durable. */
function takeNote(
  { table, leases, retired, onHealed, uptimeMs }: StoreParts,
  exclusive: Exclusive,
  {
    digest,
    group,
    before,
  }: {
    readonly digest: Digest;
    readonly group: readonly Put[];
    readonly before: BlockRecord | undefined;
  },
): void {
  assert(table.held(digest) !== undefined, 'a block is held once its batch is durable');
  const isProvisional = before === undefined && group.every(({ lease }) => lease !== undefined);
  for (const { lease } of group)
    if (lease === undefined) leases.makePermanent(exclusive, digest);
    else leases.hold(exclusive, lease, digest, { isProvisional, nowMs: uptimeMs() });
  retired.delete(exclusive, digest);
  if (before?.isDamaged === true) onHealed();
}
