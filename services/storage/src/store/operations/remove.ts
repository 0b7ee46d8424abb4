/** Deleting blocks. The record goes first: bytes without a record are nothing. */
import type { Digest } from '../disk/block-record.ts';
import type { StoreParts } from './parts.ts';

export type RemovalReason = 'dropped' | 'given-up' | 'swept';

/**
 * Removes blocks, damaged ones too; answers how many there were. Only with the store to itself.
 * On a full disk a large transaction may not fit where a small one does, so it is halved then.
 */
export async function removeBlocks(
  parts: StoreParts,
  digests: readonly Digest[],
  reason: RemovalReason,
): Promise<number> {
  const { table, files, leases, retired, metrics, log } = parts;
  const found = digests.flatMap((digest) => {
    const record = table.find(digest);
    return record === undefined ? [] : [{ digest, record }];
  });
  // Retired until it is gone: a record that is just being removed must be confirmed to nobody.
  const unretire = () => digests.forEach((digest) => retired.delete(digest));
  if (found.length === 0) {
    unretire();
    return 0;
  }
  try {
    await table.write({ remove: found.map(({ digest }) => digest) }, { isFreeing: true });
  } catch (error) {
    if (found.length === 1) throw error;
    const half = Math.ceil(found.length / 2);
    const ordered = found.map(({ digest }) => digest);
    const first = await removeBlocks(parts, ordered.slice(0, half), reason);
    return first + (await removeBlocks(parts, ordered.slice(half), reason));
  }
  unretire();
  for (const { digest } of found) leases.forget(digest);
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
