/**
 * The jobs of an upload: `replicate` for each batch of leaves as they become durable, the first of them soon, so that
 * copies are made while the body still comes in, and `release` when the upload is over.
 *
 * Redis may be away: a job that can't be queued is counted and forgotten, since the settle loop does
 * the same work from disk once the pin is there. Nothing here holds an upload up.
 */
import { randomUUID } from 'node:crypto';
import type { Log } from '@shoal/chassis';
import { createProducer, watchQueue } from '@shoal/chassis/queue';
import { type Cid, CIDS_PER_BATCH_MAX, type Lease, ReplicateProgress } from '@shoal/protocol';
import type { Metrics } from '../metrics.ts';

/**
 * Leaves in an upload's first job; each next one has twice as many, up to a batch: copies of a small upload are made
 * while it comes in, and a large one has few jobs.
 */
const FIRST_JOB_LEAVES = 4;
/** Adds that Redis has not answered: past this it counts as away, and jobs are not even tried. */
const UNANSWERED_ADDS_MAX = 64;
/** Longest wait for Redis to answer an add before an upload's jobs are looked at. */
const ADD_WAIT_MAX_MS = 1000;

/** The jobs of one upload. */
export interface Replication {
  /** Counts a durable leaf; queues a job when a batch is full. */
  add(cid: Cid): void;
  /** Members took blocks under the lease without a job: they must hear of the upload's end. */
  spread(): void;
  /** Queues the rest. */
  finish(): void;
  /** Resolves when every job reported this many copies; pending forever when one was lost. */
  whenCopies(wanted: number): Promise<void>;
  /**
   * The upload is over: its pin exists and holds the blocks from now on (`keep`), or the peers that
   * took its blocks may let them go.
   */
  release(options: { keep: boolean }): Promise<void>;
  /** Stops listening for reports. */
  close(): void;
}

export interface Replicator extends AsyncDisposable {
  /** With `isResumed`, an earlier process may have queued jobs under the same lease. */
  open(lease: Lease, replicas: number, options?: { readonly isResumed: boolean }): Replication;
}

export function startReplicator({
  socket,
  log,
  metrics,
}: {
  readonly socket: string;
  readonly log: Log;
  readonly metrics: Metrics;
}): Replicator {
  const replicate = createProducer('replicate', socket, log);
  const release = createProducer('release', socket, log);
  const listeners = new Map<string, (jobId: string, copies: number) => void>();
  const watch = watchQueue('replicate', socket, log, (jobId, data) => {
    const progress = ReplicateProgress.safeParse(data);
    const lease = jobId.slice(0, jobId.lastIndexOf('.'));
    if (progress.success) listeners.get(lease)?.(jobId, progress.data.copies);
  });
  const adds = new Set<Promise<void>>();
  let isLost = false;

  const lose = (queue: 'replicate' | 'release', err?: unknown) => {
    metrics.jobsLost.inc({ queue });
    if (!isLost) log.warn({ err, queue }, 'job not queued, settling will do its work');
    isLost = true;
  };
  /** Queues a job without waiting for it. */
  const enqueue = (queue: 'replicate' | 'release', add: () => Promise<string>): void => {
    if (adds.size >= UNANSWERED_ADDS_MAX) {
      lose(queue);
      return;
    }
    const adding: Promise<void> = add()
      .then(
        () => {
          isLost = false;
        },
        (error: unknown) => lose(queue, error),
      )
      .finally(() => adds.delete(adding));
    adds.add(adding);
  };

  return {
    open(lease, replicas, { isResumed } = { isResumed: false }) {
      // Ids of jobs that were queued before must not come again: Redis would pass the new ones over.
      const run = isResumed ? `${randomUUID()}-` : '';
      const copiesByJob = new Map<string, number>();
      let batch: Cid[] = [];
      let isSpread = false;
      let onReport: (() => void) | undefined;
      listeners.set(lease, (jobId, copies) => {
        if (copiesByJob.has(jobId)) copiesByJob.set(jobId, copies);
        onReport?.();
      });
      const batchMax = () => Math.min(CIDS_PER_BATCH_MAX, FIRST_JOB_LEAVES * 2 ** copiesByJob.size);
      const flush = () => {
        if (batch.length === 0) return;
        const cids = batch;
        batch = [];
        // BullMQ wants no ":" in an id of ours; known before the add, so that no report is missed.
        const id = `${lease}.${run}${copiesByJob.size}`;
        copiesByJob.set(id, 0);
        enqueue('replicate', () => replicate.add({ v: 1, lease, cids, replicas }, { id }));
      };
      return {
        add(cid) {
          batch.push(cid);
          if (batch.length >= batchMax()) flush();
        },
        spread() {
          isSpread = true;
        },
        finish: flush,
        whenCopies(wanted) {
          return new Promise((resolve) => {
            const short = new Set(copiesByJob.keys());
            onReport = () => {
              for (const id of short) {
                if ((copiesByJob.get(id) ?? 0) < wanted) return;
                short.delete(id);
              }
              resolve();
            };
            onReport();
          });
        },
        async release({ keep }) {
          if (copiesByJob.size === 0 && !isResumed && !isSpread) return;
          const { promise: late, resolve } = Promise.withResolvers<void>();
          const timer = setTimeout(resolve, ADD_WAIT_MAX_MS);
          await Promise.race([Promise.all(adds), late]);
          clearTimeout(timer);
          enqueue('release', () => release.add({ v: 1, lease, keep }));
        },
        close: () => void listeners.delete(lease),
      };
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([watch, replicate, release].map((each) => each[Symbol.asyncDispose]()));
    },
  };
}
