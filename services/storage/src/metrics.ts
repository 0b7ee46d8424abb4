import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { Blockstore } from './blockstore.ts';

/** Everything this service measures. Labels are small closed sets: never a CID, a peer id or a path. */
export function createMetrics(register: Registry) {
  const registers = [register];
  return {
    blocksWritten: new Counter({
      name: 'shoal_storage_blocks_written_total',
      help: 'Blocks that were put here, by how it ended.',
      labelNames: ['outcome'] as const, // 'new' | 'held' | 'corrupt' | 'full' | 'failed'
      registers,
    }),
    bytesWritten: new Counter({
      name: 'shoal_storage_written_bytes_total',
      help: 'Bytes of blocks that were made durable here for the first time.',
      registers,
    }),
    blocksRead: new Counter({
      name: 'shoal_storage_blocks_read_total',
      help: 'Blocks that were asked for, by how it ended.',
      labelNames: ['outcome'] as const, // 'sent' | 'absent' | 'aborted' | 'overloaded' | 'failed'
      registers,
    }),
    bytesRead: new Counter({
      name: 'shoal_storage_read_bytes_total',
      help: 'Bytes of blocks that were sent.',
      registers,
    }),
    commitBlocks: new Histogram({
      name: 'shoal_storage_commit_blocks',
      help: 'Blocks in one group commit.',
      buckets: [1, 2, 4, 8, 16, 32, 64],
      registers,
    }),
    commitDuration: new Histogram({
      name: 'shoal_storage_commit_duration_seconds',
      help: 'Time to make a batch of blocks durable.',
      buckets: [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2],
      registers,
    }),
    blocksDeleted: new Counter({
      name: 'shoal_storage_blocks_deleted_total',
      help: 'Blocks that were deleted, by why.',
      labelNames: ['reason'] as const, // 'dropped' | 'given-up'
      registers,
    }),
    blocksCorrupt: new Counter({
      name: 'shoal_storage_blocks_corrupt_total',
      help: 'Blocks that were found damaged and set aside.',
      registers,
    }),
  };
}
export type Metrics = ReturnType<typeof createMetrics>;

/** Figures that are read off the store when somebody asks. */
export function watchStore(register: Registry, store: Blockstore): void {
  const gauge = (name: string, help: string, read: () => Promise<number> | number) =>
    new Gauge({
      name: `shoal_storage_${name}`,
      help,
      registers: [register],
      async collect() {
        this.set(await read());
      },
    });
  const stat = (name: 'blocks' | 'usedBytes' | 'freeBytes' | 'capacityBytes') => async () =>
    (await store.stats())[name];
  gauge('blocks_held', 'Blocks held.', stat('blocks'));
  gauge('used_bytes', 'Bytes of blocks held.', stat('usedBytes'));
  gauge('free_bytes', 'Room for more blocks.', stat('freeBytes'));
  gauge('capacity_bytes', 'Space given to blocks.', stat('capacityBytes'));
  gauge('leases_held', 'Uploads that hold blocks.', () => store.counts.leases);
  gauge(
    'blocks_retired',
    'Blocks on their way out: served, confirmed to nobody.',
    () => store.counts.retired,
  );
}
