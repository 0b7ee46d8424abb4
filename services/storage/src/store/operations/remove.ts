/** Deleting blocks. The record goes first: bytes without a record are nothing. */
import assert from 'node:assert';
import type { Digest } from '../../disk/block-record.ts';
import type { Exclusive } from '../../index/commit-queue.ts';
import type { StoreParts } from '../state/store-parts.ts';

export type RemovalReason = 'dropped' | 'given-up' | 'swept';

/**
 * Removes blocks, damaged ones too; answers how many there were. No lease may hold them.
 * On a full disk a large transaction may not fit where a small one does, so it is halved then.
 */
export async function removeBlocks(
  parts: StoreParts,
  exclusive: Exclusive,
  digests: readonly Digest[],
  reason: RemovalReason,
): Promise<number> {
  const { table, files, leases, retired, metrics, log } = parts;
  const found = digests.flatMap((digest) => {
    assert(!leases.isHeld(digest), 'a block that an upload holds is not deleted');
    const record = table.find(digest);
    return record === undefined ? [] : [{ digest, record }];
  });
  // Retired until it is gone: a record that is just being removed must be confirmed to nobody.
  const forget = () => digests.forEach((digest) => retired.delete(exclusive, digest));
  if (found.length === 0) {
    forget();
    return 0;
  }
  try {
    await table.write(
      exclusive,
      { remove: found.map(({ digest }) => digest) },
      { isFreeing: true },
    );
  } catch (error) {
    if (found.length === 1) throw error;
    const half = Math.ceil(found.length / 2);
    const ordered = found.map(({ digest }) => digest);
    const first = await removeBlocks(parts, exclusive, ordered.slice(0, half), reason);
    return first + (await removeBlocks(parts, exclusive, ordered.slice(half), reason));
  }
  for (const { digest } of found)
    assert(table.find(digest) === undefined, 'a deleted block has no record');
  forget();
  const inFiles = found.filter(({ record }) => record.place === 'file');
  await Promise.all(
    inFiles.map(async ({ digest }) => {
      try {
        await files.remove(digest);
      } catch (err) {
        log.warn(
          { err, digest },
          'file of a deleted block not removed: the next start tries again',
        );
      }
    }),
  );
  metrics.blocksDeleted.inc({ reason }, found.length);
  return found.length;
}
