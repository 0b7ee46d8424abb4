/**
 * The parts that the operations of the store share. All may read; a change takes the `Exclusive` of a task that
 * is alone.
 *
 * So an operation is one of two kinds. One that asks for its turn is made from `OperationParts`, whose `alone` it
 * calls. One that runs within a turn is given `StoreParts` and the token: it can't ask for a turn, for which it
 * would wait without end.
 */
import type { Log } from '@shoal/chassis';
import type { BlockFiles } from '../../disk/block-files.ts';
import type { Room } from '../../disk/room.ts';
import type { BlockIndex } from '../../index/block-index.ts';
import type { BlockTable } from '../../index/block-table.ts';
import type { Alone } from '../../index/commit-queue.ts';
import type { Metrics } from '../../metrics.ts';
import type { Leases } from './leases.ts';
import type { Losses } from './losses.ts';
import type { Retired } from './retired.ts';

export interface StoreParts {
  readonly table: BlockTable;
  /** For the bytes of small blocks; records are the table's. */
  readonly index: Pick<BlockIndex, 'readSmall'>;
  readonly files: BlockFiles;
  readonly room: Room;
  readonly leases: Leases;
  readonly retired: Retired;
  readonly losses: Losses;
  /** Called when a damaged block was put again. */
  readonly onHealed: () => void;
  /** Called when a block was set aside. */
  readonly onDamaged: () => void;
  readonly metrics: Metrics;
  readonly log: Log;
  /** Wall clock, for what is written down. */
  readonly nowMs: () => number;
  /** A clock that is never set back, for what lives in memory. */
  readonly uptimeMs: () => number;
}

export interface OperationParts extends StoreParts {
  readonly alone: Alone;
}
