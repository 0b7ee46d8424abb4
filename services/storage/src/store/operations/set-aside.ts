/**
 * Sets a block with wrong bytes aside. Its record stays, as damaged: it
 * is not held, confirmed or served, but what pins and uploads said of it is remembered until its
 * bytes are put again. The bytes themselves go where a person can look at them.
 */
import assert, { AssertionError } from 'node:assert';
import type { CheckState, Digest } from '../../disk/block-record.ts';
import type { OperationParts } from '../state/store-parts.ts';
import { isSound } from './inspect.ts';

/** Looks again in a turn of its own: meanwhile the block may have been written anew, or deleted. */
export function createSetAside(parts: OperationParts): (digest: Digest) => Promise<CheckState> {
  const { table, index, files, metrics, log, onDamaged, alone } = parts;
  return (digest) =>
    alone(async (exclusive) => {
      const record = table.held(digest);
      if (record === undefined) return 'absent';
      if (await isSound(parts, digest, record, Buffer.allocUnsafeSlow(record.sizeBytes)))
        return 'sound';
      const rest = record.place === 'lmdb' ? index.readSmall(digest) : undefined;
      const damaged = { ...record, isDamaged: true };
      try {
        await table.write(
          exclusive,
          { remove: [digest], put: [{ digest, record: damaged }] },
          { isFreeing: true },
        );
      } catch (err) {
        if (err instanceof AssertionError) throw err;
        table.lose(exclusive, digest);
        log.warn({ err, digest }, 'damage not written down: it is found again after a restart');
      }
      assert(table.held(digest) === undefined, 'a damaged block is not held');
      try {
        await files.quarantine(digest, rest);
      } catch (err) {
        log.warn({ err, digest }, 'damaged block not moved out of the way');
      }
      metrics.blocksCorrupt.inc();
      log.error({ digest, sizeBytes: record.sizeBytes }, 'damaged block set aside');
      onDamaged();
      return 'corrupt';
    });
}
