import { createHandshakeCounter, createLoopMetrics } from '@shoal/chassis';
import type { QueueName } from '@shoal/protocol';
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

/** Everything this service measures. Labels are small closed sets: never a CID, a peer id or a path. */
export function createMetrics(register: Registry) {
  const registers = [register];
  const corruptBlocks = new Counter({
    name: 'shoal_transfer_corrupt_blocks_total',
    help: 'Blocks that did not hash to their name, by whose storage sent them.',
    labelNames: ['source'] as const, // 'own' | 'peer'
    registers,
  });
  // From 0 on: an alert on the increase must see the first one too.
  for (const source of ['own', 'peer'] as const) corruptBlocks.inc({ source }, 0);
  const copyProofs = new Counter({
    name: 'shoal_transfer_copy_proofs_total',
    help: 'Proofs of copies asked of other peers, with an offer or before a drop, by outcome: absent is a block that it does not say it holds.',
    labelNames: ['outcome'] as const, // 'proved' | 'failed' | 'absent' | 'unanswered'
    registers,
  });
  for (const outcome of ['proved', 'failed'] as const) copyProofs.inc({ outcome }, 0);
  return {
    loops: createLoopMetrics('transfer', register),
    tlsHandshakes: createHandshakeCounter('transfer', register),
    downloads: new Counter({
      name: 'shoal_transfer_downloads_total',
      help: 'Bodies sent to readers (files, CARs, listings), by how they ended.',
      labelNames: ['outcome'] as const, // 'complete' | 'reader-left' | 'gave-way' | 'unavailable' | 'failed'
      registers,
    }),
    ipfsRequests: new Counter({
      name: 'shoal_transfer_ipfs_requests_total',
      help: 'Requests below /ipfs/, by what was asked for and how they ended.',
      // file | directory | raw | car | tar; complete | not-modified | reader-left | gave-way | absent | refused | unavailable | failed
      labelNames: ['kind', 'outcome'] as const,
      registers,
    }),
    downloadsOpen: new Gauge({
      name: 'shoal_transfer_downloads_open',
      help: 'Downloads in progress.',
      registers,
    }),
    bytesServed: new Counter({
      name: 'shoal_transfer_served_bytes_total',
      help: 'File bytes sent to readers.',
      registers,
    }),
    firstByte: new Histogram({
      name: 'shoal_transfer_first_byte_duration_seconds',
      help: 'Time from the request for a file to its first byte.',
      buckets: [0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5],
      registers,
    }),
    blocksFetched: new Counter({
      name: 'shoal_transfer_blocks_fetched_total',
      help: 'Blocks asked of a storage, by whose it is and how it ended.',
      labelNames: ['source', 'outcome'] as const, // own | peer; verified | absent | corrupt | failed | cancelled
      registers,
    }),
    bytesFetched: new Counter({
      name: 'shoal_transfer_fetched_bytes_total',
      help: 'Bytes of verified blocks, by whose storage they came from.',
      labelNames: ['source'] as const, // 'own' | 'peer'
      registers,
    }),
    fetchDuration: new Histogram({
      name: 'shoal_transfer_block_fetch_duration_seconds',
      help: 'Time from want to verified block, over all providers tried.',
      buckets: [0.002, 0.005, 0.02, 0.05, 0.2, 0.5, 2, 5],
      registers,
    }),
    hedges: new Counter({
      name: 'shoal_transfer_hedges_total',
      help: 'Blocks asked of a second provider because the first was slow.',
      registers,
    }),
    retries: new Counter({
      name: 'shoal_transfer_retries_total',
      help: 'Requests for a block that failed, so that another provider was asked, if there was one.',
      registers,
    }),
    corruptBlocks,
    copyProofs,
    blocksReplicated: new Counter({
      name: 'shoal_transfer_blocks_replicated_total',
      help: 'Blocks copied between peers, by direction and outcome.',
      labelNames: ['direction', 'outcome'] as const, // 'in' | 'out'; 'copied' | 'held' | 'failed'
      registers,
    }),
    repairs: new Counter({
      name: 'shoal_transfer_repairs_total',
      help: 'Blocks copied to settle a file or to replace a damaged one, by outcome.',
      labelNames: ['outcome'] as const, // 'copied' | 'failed' | 'full'
      registers,
    }),
    repairBytes: new Counter({
      name: 'shoal_transfer_repair_bytes_total',
      help: 'Bytes of the blocks that were copied to settle a file or to replace a damaged one.',
      registers,
    }),
    repairsWaiting: new Gauge({
      name: 'shoal_transfer_repairs_waiting',
      help: 'Repair copies that wait for a place or for bandwidth.',
      registers,
    }),
    hashings: new Counter({
      name: 'shoal_transfer_hashings_total',
      help: 'Files read to be hashed for a torrent or a Metalink, by how that ended.',
      labelNames: ['outcome'] as const, // 'done' | 'unwanted' | 'failed'
      registers,
    }),
    corruptReports: new Counter({
      name: 'shoal_transfer_corrupt_reports_total',
      help: 'Reports to storages that sent wrong bytes, by what they found.',
      labelNames: ['outcome'] as const, // 'sound' | 'corrupt' | 'absent' | 'failed'
      registers,
    }),
    draining: new Gauge({
      name: 'shoal_transfer_draining',
      help: '1 while this peer hands over what it holds, to leave for good.',
      registers,
    }),
    drainBlocksLeft: new Gauge({
      name: 'shoal_transfer_drain_left_blocks',
      help: 'Blocks that were still to be handed over when that was last looked at.',
      registers,
    }),
    blocksDropped: new Counter({
      name: 'shoal_transfer_blocks_dropped_total',
      help: 'Surplus blocks dropped after the placed peers proved theirs.',
      registers,
    }),
    filesSettled: new Counter({
      name: 'shoal_transfer_files_settled_total',
      help: 'Looks at a file, by what came of it.',
      labelNames: ['outcome'] as const, // 'settled' | 'unsettled' | 'failed'
      registers,
    }),
    members: new Gauge({
      name: 'shoal_transfer_members_alive',
      help: 'Members that are asked for blocks, this peer included.',
      registers,
    }),
  };
}

export type Metrics = ReturnType<typeof createMetrics>;

/** How long each queue is, asked when Prometheus does. While Redis is away the last figures stay. */
export function watchQueues(
  register: Registry,
  queues: readonly { readonly queue: QueueName; readonly depth: () => Promise<number> }[],
): void {
  new Gauge({
    name: 'shoal_transfer_queue_depth_jobs',
    help: 'Jobs that wait or run.',
    labelNames: ['queue'] as const, // 'replicate' | 'settle' | 'release'
    registers: [register],
    async collect() {
      await Promise.all(
        queues.map(async ({ queue, depth }) => {
          const jobs = await depth().catch(() => undefined); // the queue's connection logs it once
          if (jobs !== undefined) this.set({ queue }, jobs);
        }),
      );
    },
  });
}
