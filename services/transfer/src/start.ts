/** The transfer service: moves blocks between peers, both ways, and files to readers. */
import {
  createBufferPool,
  createPeerClient,
  createRegistry,
  createServer,
  type Log,
  mount,
  mountRaw,
  openProver,
  ownEndpoints,
} from '@shoal/chassis';
import { createProducer, type Producer, startWorker } from '@shoal/chassis/queue';
import { CHUNK_SIZE_BYTES, type QueueName, storageRoutes, transferRoutes } from '@shoal/protocol';
import { createAcceptReplicas } from './accept-replicas.ts';
import { createBlockSource } from './block-source.ts';
import type { TransferConfig } from './config.ts';
import { createLimit } from './copy.ts';
import { createDownload } from './download.ts';
import { createManifests } from './manifests.ts';
import { watchMembers } from './member-view.ts';
import { createMetrics } from './metrics.ts';
import { releaseEverywhere } from './release.ts';
import { replicate } from './replicate.ts';
import { settle } from './settle.ts';
import { startSettleLoop } from './settle-loop.ts';

/** How often the depth of the queues is read for `/metrics`. */
const DEPTH_INTERVAL_MS = 5000;
/** Buffers kept for the next block; a busier moment's are given back. */
const IDLE_BUFFERS_MAX = 16;
/** Files settled at one time from the queue; each copies at most TRANSFER_COPIES_MAX blocks anyway. */
const SETTLE_JOBS_MAX = 2;

export async function startTransfer(config: Readonly<TransferConfig>, log: Log) {
  await using stack = new AsyncDisposableStack(); // a throw below closes what was opened, in reverse
  const self = config.PEER_ID;
  const stop = stack.adopt(new AbortController(), (controller) =>
    controller.abort(new Error('stopping')),
  );
  const { signal } = stop;
  const registry = createRegistry('transfer');
  const metrics = createMetrics(registry);
  const prover = openProver(config);
  const client = stack.use(createPeerClient({ prover, self, own: ownEndpoints(config) }));
  const pool = createBufferPool(CHUNK_SIZE_BYTES, IDLE_BUFFERS_MAX);
  const limits = {
    stallMs: config.TRANSFER_BLOCK_STALL_MS,
    timeoutMs: config.TRANSFER_BLOCK_TIMEOUT_MS,
  };
  const view = stack.use(
    watchMembers({ client, self, log, onTable: (asked) => metrics.members.set(asked) }),
  );
  const source = createBlockSource({ client, pool, view, metrics, log, ...limits }, { signal });
  const manifests = createManifests({ client, log });
  const limit = createLimit(config.TRANSFER_COPIES_MAX);
  const loop = stack.use(
    startSettleLoop({
      client,
      view,
      metrics,
      log,
      settle: (root, options) =>
        settle(root, { client, view, source, manifests, metrics, log, limit }, options),
      intervalMs: config.TRANSFER_SETTLE_INTERVAL_MS,
      delayMs: config.TRANSFER_SETTLE_DELAY_MS,
    }),
  );

  const app = stack.adopt(
    createServer({
      service: 'transfer',
      log,
      registry,
      whyNotReady: () => (view.isKnown() ? undefined : 'the member table is not here yet'),
    }),
    (server) => server.close(),
  );
  const mounting = { app, prover, self };
  mountRaw(
    mounting,
    transferRoutes.getFile,
    createDownload({ client, source, manifests, metrics, log, config }),
  );
  mount(
    mounting,
    transferRoutes.offerReplicas,
    createAcceptReplicas({ client, pool, view, metrics, log, limit, ...limits }),
  );
  mount(mounting, transferRoutes.releaseReplicas, ({ params, signal: left }) =>
    client.call(client.own('storage'), storageRoutes.endLease, { params }, { signal: left }),
  );

  const socket = config.REDIS_SOCKET;
  stack.use(
    startWorker('replicate', socket, log, config.TRANSFER_REPLICATE_JOBS_MAX, (payload, job) =>
      replicate(
        payload,
        { client, view, metrics, log },
        // Lost progress is not lost truth: the upload asks for the file's health as well.
        (progress) =>
          void job
            .updateProgress(progress)
            .catch((err: unknown) => log.debug({ err }, 'progress not told')),
        { signal },
      ),
    ),
  );
  stack.use(
    startWorker('settle', socket, log, SETTLE_JOBS_MAX, async ({ root }) => {
      await loop.settleNow(root, { signal });
    }),
  );
  stack.use(
    startWorker('release', socket, log, 1, ({ lease }) =>
      releaseEverywhere(lease, { client, view, log }, { signal }),
    ),
  );
  for (const name of ['replicate', 'settle', 'release'] as const) {
    const producer = stack.use(createProducer(name, socket, log));
    watchDepth(name, producer, metrics, stack);
  }

  const origin = await app.listen({ port: config.TRANSFER_PORT, host: config.BIND_HOST });
  const running = stack.move(); // nothing failed: hand the resources to the caller
  return { origin, [Symbol.asyncDispose]: () => running.disposeAsync() };
}

function watchDepth<N extends QueueName>(
  queue: N,
  producer: Producer<N>,
  { queueDepth }: ReturnType<typeof createMetrics>,
  stack: AsyncDisposableStack,
): void {
  const read = () => {
    // While Redis is away the depth is not known: the last figure stays.
    producer.depth().then(
      (depth) => queueDepth.set({ queue }, depth),
      () => undefined,
    );
  };
  const timer = setInterval(read, DEPTH_INTERVAL_MS);
  stack.defer(() => clearInterval(timer));
}
