/**
 * Dropping a surplus copy in two halves, so that two peers never drop the last two copies because
 * each saw the other's: a retired block is confirmed to nobody, so whoever counts copies no longer
 * counts it; only then are the others asked, and only a block that is still retired is deleted.
 * Retirement is in memory: a restart takes it back, which is the safe side.
 */
import type { BlockRecord } from '../disk/block-record.ts';

/** True when a block that is surplus to a pin of `replicas` may be retired. */
export function mayRetire(
  record: Pick<BlockRecord, 'keep' | 'isNode'>,
  facts: { readonly isLeased: boolean; readonly isNode: boolean; readonly replicas: number },
): boolean {
  if (facts.isLeased) return false;
  if (record.keep > facts.replicas) return false;
  const isKeptNode = record.keep > 0 && (record.isNode || facts.isNode);
  return !isKeptNode; // losing a manifest loses the file: every member keeps them all
}
