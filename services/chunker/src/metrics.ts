import { createLoopMetrics } from '@shoal/chassis';
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

/** How a file's way in ended. `refused`: the sender's fault; `failed`: ours; `left`: the sender went. */
export type Outcome = 'kept' | 'refused' | 'failed' | 'left';

export type Metrics = ReturnType<typeof createMetrics>;

/** Everything that the chunker measures. */
export function createMetrics(register: Registry) {
  const registers = [register];
  return {
    loops: createLoopMetrics('chunker', register),
    files: new Counter({
      name: 'shoal_chunker_files_total',
      help: 'Files received, by how it ended.',
      labelNames: ['outcome'] as const,
      registers,
    }),
    bytes: new Counter({
      name: 'shoal_chunker_received_bytes_total',
      help: 'Bytes of files received, by how the file ended.',
      labelNames: ['outcome'] as const,
      registers,
    }),
    blocks: new Counter({
      name: 'shoal_chunker_blocks_total',
      help: 'Blocks that storage acknowledged.',
      labelNames: ['kind'] as const, // 'leaf' | 'node'
      registers,
    }),
    openUploads: new Gauge({
      name: 'shoal_chunker_open_uploads_count',
      help: 'Uploads that are being received or wait for their copies.',
      registers,
    }),
    buffers: new Gauge({
      name: 'shoal_chunker_buffers_count',
      help: 'Chunk buffers in use.',
      registers,
    }),
    uploadDuration: new Histogram({
      name: 'shoal_chunker_upload_duration_seconds',
      help: 'Time from the first byte of a request to its answer.',
      buckets: [0.01, 0.05, 0.2, 1, 5, 20, 60, 300],
      registers,
    }),
    putDuration: new Histogram({
      name: 'shoal_chunker_block_put_duration_seconds',
      help: 'Time until storage acknowledged a block or batch as durable.',
      buckets: [0.001, 0.005, 0.02, 0.05, 0.2, 1, 5],
      registers,
    }),
    copiesWait: new Histogram({
      name: 'shoal_chunker_copies_wait_duration_seconds',
      help: 'Time from the pin to the answer, spent waiting for confirmed copies.',
      labelNames: ['outcome'] as const, // 'reached' | 'late'
      buckets: [0.01, 0.05, 0.2, 0.5, 1, 2, 5, 15],
      registers,
    }),
    resumableUploads: new Gauge({
      name: 'shoal_chunker_resumable_uploads_count',
      help: 'Resumable uploads that are not finished, whether or not a client is sending now.',
      registers,
    }),
    resumableEnds: new Counter({
      name: 'shoal_chunker_resumable_uploads_ended_total',
      help: 'Resumable uploads that ended, by how.',
      labelNames: ['outcome'] as const, // 'kept' | 'refused' | 'removed' | 'expired' | 'gave-way'
      registers,
    }),
    resumableStepsBack: new Counter({
      name: 'shoal_chunker_resumable_steps_back_total',
      help: 'Times that a resumable upload had to go back, because blocks of it were gone.',
      registers,
    }),
    jobsLost: new Counter({
      name: 'shoal_chunker_jobs_lost_total',
      help: 'Jobs that could not be queued because Redis was away; settling does their work later.',
      labelNames: ['queue'] as const, // 'replicate' | 'release'
      registers,
    }),
  };
}
