/** What the mechanisms of the store share. Each changes it only with the commit queue to itself. */
import type { Log } from '@shoal/chassis';
import { type Lease, type Problem, RequestInvalid } from '@shoal/protocol';
import type { BlockFiles } from '../disk/block-files.ts';
import type { BlockIndex } from '../index/block-index.ts';
import type { BlockTable } from '../index/block-table.ts';
import type { Digest } from '../disk/block-record.ts';
import type { Leases } from './leases.ts';
import type { Metrics } from '../metrics.ts';

export interface StoreParts {
  readonly table: BlockTable;
  /** For the bytes of small blocks; records are the table's. */
  readonly index: Pick<BlockIndex, 'readSmall'>;
  readonly files: BlockFiles;
  readonly leases: Leases;
  readonly retired: Set<Digest>;
  /** A damaged block was put again. */
  readonly onHealed: () => void;
  readonly metrics: Metrics;
  readonly log: Log;
  /** Wall clock, for what is written down. */
  readonly nowMs: () => number;
  /** A clock that is never set back, for what lives in memory. */
  readonly uptimeMs: () => number;
}

/** Runs a task with the store to itself. */
export type Alone = <T>(task: () => Promise<T> | T) => Promise<T>;

/** Rows changed in one transaction of a long task, so that puts get their turn in between. */
export const SLICE_BLOCKS = 512;

export function* slices<T>(items: readonly T[]): Generator<readonly T[]> {
  for (let at = 0; at < items.length; at += SLICE_BLOCKS) yield items.slice(at, at + SLICE_BLOCKS);
}

/** What a put under such a lease is told. */
export const leaseEnded = (lease: Lease): Problem =>
  new RequestInvalid({ reason: `lease ${lease} was given up, nothing can be put under it` });
