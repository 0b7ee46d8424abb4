/** A check of a block: re-hashed, and set aside when it is not what its name says. */
import type { CheckState, Digest } from '../../disk/block-record.ts';
import { OWN } from '../../disk/buffers.ts';
import type { BufferPools } from '../../disk/buffer-pools.ts';
import type { StoreParts } from '../state/store-parts.ts';
import type { CheckNotes } from './check-notes.ts';
import { isSound } from './inspect.ts';

export function createCheck(
  parts: StoreParts,
  {
    pools,
    notes,
    setAside,
  }: {
    readonly pools: BufferPools;
    readonly notes: Pick<CheckNotes, 'add'>;
    readonly setAside: (digest: Digest) => Promise<CheckState>;
  },
) {
  const { table, nowMs } = parts;
  const checkIn = async (digest: Digest, buffer: Uint8Array): Promise<CheckState> => {
    const record = table.held(digest);
    if (record === undefined) return 'absent';
    if (!(await isSound(parts, digest, record, buffer))) return setAside(digest);
    notes.add(digest, { writtenAtMs: record.writtenAtMs, checkedAtMs: nowMs() });
    return 'sound';
  };
  return {
    async check(digest: Digest): Promise<CheckState> {
      const record = table.held(digest);
      if (record === undefined) return 'absent';
      using pooled = await pools.take(record.sizeBytes, OWN);
      return await checkIn(digest, pooled.buffer);
    },
    checkIn,
  };
}
