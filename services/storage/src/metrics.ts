import { createHandshakeCounter, createLoopMetrics } from '@shoal/chassis';
import { Counter, Histogram, type Registry } from 'prom-client';

/** Everything this service measures. Labels are small closed sets: never a CID, a peer id or a path. */
export function createMetrics(register: Registry) {
  const registers = [register];
  return {
    loops: createLoopMetrics('storage', register),
    tlsHandshakes: createHandshakeCounter('storage', register),
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
      labelNames: ['outcome'] as const, // 'sent' | 'absent' | 'aborted'
      registers,
    }),
    blocksProved: new Counter({
      name: 'shoal_storage_blocks_proved_total',
      help: 'Blocks that a proof was asked of, by this peer or another, by whether they are here.',
      labelNames: ['outcome'] as const, // 'proved' | 'absent'
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
      labelNames: ['reason'] as const, // 'dropped' | 'given-up' | 'swept'
      registers,
    }),
    blocksCorrupt: new Counter({
      name: 'shoal_storage_blocks_corrupt_total',
      help: 'Blocks that were found damaged and set aside.',
      registers,
    }),
    blocksHealed: new Counter({
      name: 'shoal_storage_blocks_healed_total',
      help: 'Damaged blocks whose bytes were put again.',
      registers,
    }),
    blocksScrubbed: new Counter({
      name: 'shoal_storage_scrubbed_blocks_total',
      help: 'Blocks that the scrub re-hashed, by what it found.',
      labelNames: ['outcome'] as const, // 'sound' | 'damaged'
      registers,
    }),
    bytesScrubbed: new Counter({
      name: 'shoal_storage_scrubbed_bytes_total',
      help: 'Bytes that the scrub re-hashed.',
      registers,
    }),
    sweepRounds: new Counter({
      name: 'shoal_storage_sweep_rounds_total',
      help: 'Rounds of the sweep, by how they ended.',
      labelNames: ['outcome'] as const, // 'done' | 'dry' | 'held-up' | 'failed'
      registers,
    }),
    sweepDuration: new Histogram({
      name: 'shoal_storage_sweep_duration_seconds',
      help: 'Time that a round of the sweep took.',
      buckets: [0.01, 0.1, 1, 10, 60, 600],
      registers,
    }),
  };
}
export type Metrics = ReturnType<typeof createMetrics>;
