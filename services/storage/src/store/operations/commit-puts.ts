/**
 * How a batch of puts becomes durable: the files of large blocks first, then one transaction for all
 * records. A block is held from that transaction on, and what a failure leaves before it is taken
 * away again, so that a full disk never holds half a block.
 */
import type { Lease } from '@shoal/protocol';
import type { BlockFiles, Draft } from '../disk/block-files.ts';
import type { Digest } from '../disk/block-record.ts';
import { leaseEnded, type StoreParts } from './parts.ts';
import { recordAfterPut, SMALL_BLOCK_SIZE_MAX_BYTES } from '../index/records.ts';

export interface Put {
  readonly digest: Digest;
  readonly bytes: Uint8Array;
  readonly lease: Lease | undefined;
  /** Written ahead, while other batches commit; undefined for a small block, and for one that was held. */
  readonly draft: Draft | undefined;
}
export type PutResult = { readonly isNew: boolean };

/** @param probe Tells whether a block's bytes seem to be there. */
export function createCommit(
  parts: StoreParts,
  probe: (digest: Digest) => Promise<number | undefined>,
): (puts: readonly Put[]) => Promise<(PutResult | Error)[]> {
  const { table, files, leases, retired, onHealed, metrics, nowMs, uptimeMs } = parts;

  return async (puts) => {
    const endTimer = metrics.commitDuration.startTimer();
    const welcome = puts.filter(({ lease }) => lease === undefined || !leases.isEnded(lease));
    const groups = Map.groupBy(welcome, ({ digest }) => digest);
    const sound = new Set<Digest>();
    try {
      await Promise.all(
        [...groups.keys()].map(async (digest) => {
          if ((await probe(digest)) !== undefined) sound.add(digest);
        }),
      );
    } catch (error) {
      for (const { draft } of puts) if (draft !== undefined) files.discard(draft);
      throw error;
    }
    const missing = [...groups].filter(([digest]) => !sound.has(digest));
    const written = await writeFiles(files, missing);
    for (const { draft, digest } of puts)
      if (draft !== undefined && draft !== written.used.get(digest)) files.discard(draft);

    const before = new Map([...groups.keys()].map((digest) => [digest, table.find(digest)]));
    /** Bytes that no record will speak for; were they left, the next start would find them. */
    const takeBack = async (digests: Iterable<Digest>): Promise<void> => {
      for (const digest of digests)
        if (before.get(digest)?.isDamaged ?? true) await files.remove(digest).catch(() => {});
    };
    await takeBack(written.errors.keys());
    const changes = [...groups]
      .filter(([digest]) => !written.errors.has(digest))
      .flatMap(([digest, group]) => {
        const bytes = group[0]?.bytes ?? new Uint8Array();
        const isSound = sound.has(digest);
        const record = recordAfterPut(before.get(digest), {
          sizeBytes: bytes.length,
          leases: group.map(({ lease }) => lease),
          isSound,
          nowMs: nowMs(),
        });
        if (record === undefined) return [];
        return [{ digest, record, bytes: isSound || record.place === 'file' ? undefined : bytes }];
      });
    try {
      await table.write({ put: changes });
    } catch (error) {
      await takeBack(written.used.keys());
      throw error;
    }
    for (const [digest, group] of groups) {
      if (written.errors.has(digest)) continue;
      const isFirst = before.get(digest) === undefined;
      const isProvisional = isFirst && group.every(({ lease }) => lease !== undefined);
      for (const { lease } of group)
        if (lease === undefined) leases.settle(digest);
        else leases.hold(lease, digest, { isProvisional, nowMs: uptimeMs() });
      retired.delete(digest);
      if (before.get(digest)?.isDamaged === true) onHealed();
    }
    metrics.commitBlocks.observe(puts.length);
    endTimer();
    const claimed = new Set<Digest>();
    return puts.map((put) => {
      if (put.lease !== undefined && leases.isEnded(put.lease)) return leaseEnded(put.lease);
      const error = written.errors.get(put.digest);
      if (error !== undefined) return error;
      // Of several equal blocks in one batch only the first is new.
      const isNew = !sound.has(put.digest) && !claimed.has(put.digest);
      claimed.add(put.digest);
      return { isNew };
    });
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
