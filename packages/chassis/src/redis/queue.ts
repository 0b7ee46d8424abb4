/**
 * BullMQ with our defaults, on the peer's own Redis. Redis may die and forget: a producer then
 * fails at once instead of waiting, and what was queued is found again from disk.
 *
 * Apart from chassis' index, because BullMQ takes 14 MiB and not every process of a peer has a queue.
 */
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { QUEUES, type QueueName, refusalOf } from '@shoal/protocol';
import { Queue, QueueEvents, UnrecoverableError, Worker, type Job } from 'bullmq';
import type { Redis } from 'ioredis';
import type * as z from 'zod';
import type { Log } from '../process/log.ts';
import { blockingOptions, connectBlocking, connectRedis } from './connect.ts';

/** Finished jobs are kept for a look, not as history. Past it: the oldest are removed. */
const FINISHED_JOBS_KEPT = 200;
type Payload<N extends QueueName> = z.output<(typeof QUEUES)[N]['payload']>;

/**
 * Longest wait for a queue's goodbye, and for the jobs that run, when stopping.
 * Past it: the connection is cut; what ran is run again.
 */
const CLOSE_TIMEOUT_MS = 4000;

/**
 * How long a question to an empty queue stays open: only how often a peer at rest says that it still waits, since
 * a job ends it at once. Past it: asked again.
 */
const IDLE_WAIT_MS = 60_000;

/**
 * Lock of a job that runs, renewed in half the time. Only a worker that was killed lets one expire.
 * Past it: the job is run again.
 */
const LOCK_MS = 60_000;

/**
 * Longest wait for a connection that is still being made.
 * Past it: the job is not queued; settling does its work from disk.
 */
const READY_TIMEOUT_MS = 500;

export interface Producer<N extends QueueName> extends AsyncDisposable {
  /** Queues a job and answers its id. `id` makes a second add of the same job do nothing. */
  add(payload: Payload<N>, options?: { id?: string; delayMs?: number }): Promise<string>;
  /** Jobs that wait or run. */
  depth(): Promise<number>;
}

/** @throws Error from `add` and `depth` while Redis is away. */
export function createProducer<N extends QueueName>(
  name: N,
  socket: string,
  log: Log,
): Producer<N> {
  const use = connectRedis(socket, log);
  const { redis: connection } = use;
  const queue = new Queue(QUEUES[name].name, {
    connection,
    defaultJobOptions: {
      attempts: 5,
      backoff: { type: 'exponential', delay: 500 },
      removeOnComplete: FINISHED_JOBS_KEPT,
      removeOnFail: FINISHED_JOBS_KEPT,
    },
  });
  queue.on('error', () => {}); // logged by the connection; without a listener the process would die
  return {
    async add(payload, { id, delayMs } = {}) {
      await untilReady(connection);
      const job = await queue.add(name, QUEUES[name].payload.parse(payload), {
        ...(id === undefined ? {} : { jobId: id, removeOnComplete: true, removeOnFail: true }),
        ...(delayMs === undefined ? {} : { delay: delayMs }),
      });
      return String(job.id);
    },
    async depth() {
      await untilReady(connection);
      const counts = await queue.getJobCounts('waiting', 'active', 'delayed', 'prioritized');
      return Object.values(counts).reduce((sum, count) => sum + count, 0);
    },
    async [Symbol.asyncDispose]() {
      await closeSoon(queue, log);
      use[Symbol.dispose]();
    },
  };
}

/** Runs the jobs of a queue. A handler that throws has its job tried again, later each time. */
export function startWorker<N extends QueueName>(
  name: N,
  socket: string,
  log: Log,
  concurrency: number,
  handle: (payload: Payload<N>, job: Job) => Promise<unknown>,
): AsyncDisposable {
  const use = connectBlocking(socket, log);
  const worker = new Worker(QUEUES[name].name, (job) => handle(readJob(name, job.data), job), {
    connection: use.redis,
    concurrency,
    drainDelay: IDLE_WAIT_MS / 1000,
    lockDuration: LOCK_MS,
    stalledInterval: LOCK_MS / 2,
    maxStalledCount: 5,
  });
  worker.on('error', () => {}); // logged by the connection
  worker.on('failed', (job, err) => log.warn({ err, job: job?.id, queue: name }, 'job failed'));
  return {
    async [Symbol.asyncDispose]() {
      await closeSoon(worker, log);
      use[Symbol.dispose]();
    },
  };
}

/** The payload of a job. @throws UnrecoverableError that names the field: another try would find the same. */
export function readJob<N extends QueueName>(name: N, data: unknown): Payload<N> {
  const parsed = QUEUES[name].payload.safeParse(data);
  if (!parsed.success)
    throw new UnrecoverableError(`the job is refused: ${refusalOf(parsed.error)}`);
  // The schema belongs to this very name; TypeScript can't tie the two through the lookup.
  return parsed.data as Payload<N>;
}

/** Tells what happens to the jobs of a queue; misses what happens while Redis is away. */
export function watchQueue(
  name: QueueName,
  socket: string,
  log: Log,
  onProgress: (jobId: string, data: unknown) => void,
): AsyncDisposable {
  const events = new QueueEvents(QUEUES[name].name, {
    connection: blockingOptions(socket),
    blockingTimeout: IDLE_WAIT_MS,
  });
  events.on('error', (err) => log.debug({ err, queue: name }, 'events of a queue interrupted'));
  events.on('progress', ({ jobId, data }) => onProgress(jobId, data));
  return {
    async [Symbol.asyncDispose]() {
      await closeSoon(events, log);
    },
  };
}

/** Closes within a bound: BullMQ waits for a Redis that is away without one. Jobs are resumed later. */
async function closeSoon(part: { close(): Promise<unknown> }, log: Log): Promise<void> {
  const late = new AbortController();
  const closed = part
    .close()
    .catch((err: unknown) => log.debug({ err }, 'closed with an error'))
    .finally(() => late.abort());
  const waited = sleep(CLOSE_TIMEOUT_MS, undefined, { signal: late.signal }).catch(() => {}); // closed
  await Promise.race([closed, waited]);
}

/** Fails soon, where BullMQ would wait without a bound. @throws Error while Redis is away. */
async function untilReady(redis: Redis): Promise<void> {
  if (redis.status === 'ready') return;
  try {
    await once(redis, 'ready', { signal: AbortSignal.timeout(READY_TIMEOUT_MS) });
  } catch (cause) {
    throw new Error('redis is away', { cause });
  }
}
