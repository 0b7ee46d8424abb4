/** Figures that take a scan of the whole index: how the scrub keeps up, and which blocks are damaged. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { cidOf } from '@shoal/blocks';
import type { Cid } from '@shoal/protocol';
import type { BlockTable } from '../index/block-table.ts';
import type { Digest } from '../disk/block-record.ts';
import { SLICE_BLOCKS } from '../index/slices.ts';

export interface Census {
  /** Undefined without blocks. */
  readonly oldestCheckAtMs: number | undefined;
  readonly overdueBlocks: number;
  /** The first damaged blocks. */
  readonly damaged: readonly Cid[];
}

/** A count is used for this many times as long as it took: a tenth of one core at most. */
const REUSE_FACTOR = 10;
/** Damaged blocks that are named. */
const NAMED_MAX = 100;

/**
 * Counts when asked. Callers that ask meanwhile, or right after, share the answer, unless a block was
 * damaged or healed since.
 */
export function createCensus(deps: {
  readonly table: Pick<BlockTable, 'scan' | 'counts'>;
  readonly intervalMs: number;
  readonly nowMs: () => number;
  readonly uptimeMs: () => number;
}): () => Promise<Census> {
  const { table, intervalMs, nowMs, uptimeMs } = deps;
  let last: ReturnType<typeof begin> | undefined;
  let tookMs = 0;

  const count = async (): Promise<Census> => {
    const beganAtMs = uptimeMs();
    let oldestCheckAtMs: number | undefined;
    let overdueBlocks = 0;
    const damaged: Cid[] = [];
    for (let after: Digest | undefined; ;) {
      const rows = table.scan(after, SLICE_BLOCKS);
      for (const [digest, { isDamaged, isNode, checkedAtMs }] of rows) {
        after = digest;
        if (isDamaged) {
          if (damaged.length < NAMED_MAX)
            damaged.push(cidOf(isNode ? 'dag-pb' : 'raw', Buffer.from(digest, 'hex')));
          continue;
        }
        oldestCheckAtMs = Math.min(oldestCheckAtMs ?? Infinity, checkedAtMs);
        if (isOverdue(checkedAtMs, { nowMs: nowMs(), intervalMs })) overdueBlocks += 1;
      }
      if (rows.length < SLICE_BLOCKS) break;
      await nextTurn();
    }
    tookMs = uptimeMs() - beganAtMs;
    return { oldestCheckAtMs, overdueBlocks, damaged };
  };
  const begin = (): { census: Promise<Census>; damagedBefore: number } => {
    const begun = { census: count(), damagedBefore: table.counts.damaged };
    const forget = (): void => {
      if (last === begun) last = undefined;
    };
    begun.census.then(() => setTimeout(forget, REUSE_FACTOR * tookMs).unref(), forget);
    return begun;
  };
  return () => {
    if (last?.damagedBefore !== table.counts.damaged) last = begin();
    return last.census;
  };
}

/** True when a block is due to be checked again. A check in the future was noted by a clock that was wrong. */
export const isOverdue = (
  checkedAtMs: number,
  { nowMs, intervalMs }: { readonly nowMs: number; readonly intervalMs: number },
): boolean => nowMs - checkedAtMs >= intervalMs || checkedAtMs > nowMs;
