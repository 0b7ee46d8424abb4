/** The transfer service: moves blocks between peers, both ways, and files to readers. */
import {
  createBufferPool,
  createLoops,
  createPeerClient,
  createRegistry,
  createServer,
  createTokenBucket,
  type Log,
  type Loops,
  mountLoops,
  openClients,
  openProver,
  ownEndpoints,
  ownHostNames,
  readWriteToken,
} from '@shoal/chassis';
import { connectEvents } from '@shoal/chassis/events';
import { createProducer, startWorker } from '@shoal/chassis/queue';
import { CHUNK_SIZE_BYTES, type QueueName } from '@shoal/protocol';
import { join } from 'node:path';
import { createBlockReaders } from './fetch/block-reader.ts';
import { createBlockSource } from './fetch/listed-blocks.ts';
import type { TransferConfig } from './config.ts';
import { createCopyProofs } from './copies/copy-proofs.ts';
import { createLimit } from './copies/copy.ts';
import { createDrain } from './leave/drain.ts';
import { readFileBytes } from './file/file-bytes.ts';
import { createFindBlock } from './fetch/swarm-blocks.ts';
import { handOver } from './leave/hand-over.ts';
import { createHashPieces } from './describe/hash-pieces.ts';
import { createIncoming } from './copies/incoming.ts';
import { createManifests } from './file/manifests.ts';
import { watchMembers } from './peers/member-view.ts';
import { createMetrics, type Metrics } from './metrics.ts';
import { openPieceStore } from './describe/piece-store.ts';
import { releaseEverywhere } from './copies/release.ts';
import { createReleasedLeases } from './copies/released-leases.ts';
import { createRepairs } from './copies/repairs.ts';
import { replicate } from './copies/replicate.ts';
import { createReportCorrupt } from './peers/report-corrupt.ts';
import { mountRoutes } from './routes.ts';
import { createSender } from './answer/send-body.ts';
import { settle } from './settle/settle.ts';
import { startSettleLoop } from './settle/settle-loop.ts';

/** How often the depth of the queues is read for `/metrics`. */
const DEPTH_INTERVAL_MS = 5000;
/** Buffers kept for the next block; a busier moment's are given back. */
const IDLE_BUFFERS_MAX = 16;
/** Files settled at one time from the queue; repairs have a limit of their own anyway. */
const SETTLE_JOBS_MAX = 2;
/** Kept of SHUTDOWN_TIMEOUT_MS for what follows the handing over: requests in flight, queues. */
const CLOSING_MS = 2000;

export async function startTransfer(config: Readonly<TransferConfig>, log: Log) {
  await using stack = new AsyncDisposableStack(); // a throw below closes what was opened, in reverse
  const self = config.PEER_ID;
  const stop = stack.adopt(new AbortController(), (controller) =>
    controller.abort(new Error('stopping')),
  );
  const { signal } = stop;
  const registry = createRegistry('transfer');
  const metrics = createMetrics(registry);
  const loops = createLoops({ metrics: metrics.loops, log });
  const prover = openProver(config);
  const client = stack.use(createPeerClient({ prover, self, own: ownEndpoints(config) }));
  const pool = createBufferPool(CHUNK_SIZE_BYTES, IDLE_BUFFERS_MAX);
  const receiving = {
    pool,
    stallMs: config.TRANSFER_BLOCK_STALL_MS,
    timeoutMs: config.TRANSFER_BLOCK_TIMEOUT_MS,
  };
  const socket = config.REDIS_SOCKET;
  const events = stack.use(connectEvents(socket, log));
  const view = stack.use(
    watchMembers({ client, self, loops, log, onTable: (asked) => metrics.members.set(asked) }),
  );
  const proofs = stack.use(createCopyProofs({ client, self, metrics, log }));
  const common = { client, view, proofs, metrics, log };
  const reportCorrupt = createReportCorrupt(common);
  const source = createBlockSource({ ...common, ...receiving, reportCorrupt }, { signal });
  const blocks = stack.use(
    createFindBlock({ ...common, ...receiving, source, reportCorrupt }, { signal }),
  );
  const readerFor = createBlockReaders(blocks);
  const manifests = createManifests({ client, log });
  const hashing = new AbortController();
  const hashPieces = createHashPieces(
    {
      metrics,
      log,
      store: await openPieceStore(join(config.PEER_DATA_DIR, 'transfer', 'pieces'), { log }),
      readFile: (pin, options) => readFileBytes(pin, { source, manifests, readerFor }, options),
    },
    { signal: hashing.signal },
  );
  const released = createReleasedLeases();
  const bucket = createTokenBucket({
    ratePerSecond: config.TRANSFER_REPAIR_BYTES_PER_SECOND,
    nowMs: () => performance.now(),
  });
  const incoming = createIncoming();
  const blocksMax = config.TRANSFER_REPAIRS_MAX;
  const repairs = createRepairs({ ...common, incoming, bucket, blocksMax });
  const loop = stack.use(
    startSettleLoop({
      ...common,
      loops,
      settle: (root, options) => settle(root, { ...common, source, manifests, repairs }, options),
      onRepair: (cid, { copiedBlocks, droppedBlocks }) =>
        events.publish({ kind: 'repair', atMs: Date.now(), cid, copiedBlocks, droppedBlocks }),
      intervalMs: config.TRANSFER_SETTLE_INTERVAL_MS,
      resettleMs: config.TRANSFER_RESETTLE_MS,
      delayMs: config.TRANSFER_SETTLE_DELAY_MS,
    }),
  );

  let isStopping = false;
  const whyNotReady = () => {
    if (isStopping) return 'stopping';
    return view.isKnown() ? undefined : 'the member table is not here yet';
  };
  const token = readWriteToken(config);
  const app = stack.adopt(
    createServer({
      service: 'transfer',
      log,
      registry,
      whyNotReady,
      hostNames: ownHostNames(config),
      writeToken: token,
      clients: openClients(config, { token, prover }),
    }),
    (server) => server.close(),
  );
  mountLoops({ app, prover, self }, 'transfer', loops);
  mountRoutes(
    { app, prover, self },
    {
      ...common,
      ...receiving,
      config,
      source,
      readerFor,
      sender: createSender({ metrics, log, config }),
      manifests,
      hashPieces,
      repairs,
      incoming,
      reportCorrupt,
      released,
      loop,
      drain: createDrain({ ...common, source, manifests, loop }, { signal }),
      limit: createLimit(config.TRANSFER_COPIES_MAX),
    },
  );

  stack.use(
    startWorker(
      'replicate',
      socket,
      log,
      config.TRANSFER_REPLICATE_JOBS_MAX,
      async (payload, job) => {
        if (released.wasKept(payload.lease) !== undefined) return; // settling has taken over
        await replicate(
          payload,
          common,
          // Lost progress is not lost truth: the upload asks for the file's health as well.
          (progress) =>
            void job
              .updateProgress(progress)
              .catch((err: unknown) => log.debug({ err }, 'progress not told')),
          { signal },
        );
      },
    ),
  );
  stack.use(
    startWorker('settle', socket, log, SETTLE_JOBS_MAX, async ({ root }) => {
      await loop.settleNow(root);
    }),
  );
  stack.use(
    startWorker('release', socket, log, 1, (job) => {
      released.note(job.lease, job.keep);
      return releaseEverywhere(job, common, { signal });
    }),
  );
  const depths = (['replicate', 'settle', 'release'] as const).map((queue) => {
    const producer = stack.use(createProducer(queue, socket, log));
    return { queue, read: () => producer.depth() };
  });
  stack.use(watchDepths(depths, { metrics, loops }));

  const origin = await app.listen({ port: config.TRANSFER_PORT, host: config.BIND_HOST });
  stack.defer(() => hashing.abort(new Error('stopping'))); // or the server waits for its askers
  // Last opened, first closed: while blocks are handed over everything else still works.
  stack.defer(async () => {
    isStopping = true;
    const timeoutMs = Math.min(
      config.TRANSFER_HANDOVER_TIMEOUT_MS,
      Math.max(0, config.SHUTDOWN_TIMEOUT_MS - CLOSING_MS),
    );
    try {
      const deadline = { signal: AbortSignal.timeout(timeoutMs) };
      const done = await handOver({ ...common, source, manifests, loop }, deadline);
      log.debug({ ...done }, 'nothing more to hand over');
    } catch (err) {
      log.warn({ err, timeoutMs }, 'not all files were looked at before stopping');
    }
  });
  const running = stack.move(); // nothing failed: hand the resources to the caller
  return { origin, [Symbol.asyncDispose]: () => running.disposeAsync() };
}

/** While Redis is away the depths are not known: the last figures stay. */
function watchDepths(
  depths: readonly { readonly queue: QueueName; readonly read: () => Promise<number> }[],
  { metrics, loops }: { readonly metrics: Metrics; readonly loops: Loops },
): Disposable {
  return loops.start({
    name: 'queue-depths',
    everyMs: () => DEPTH_INTERVAL_MS,
    run: () =>
      Promise.all(
        depths.map(async ({ queue, read }) => metrics.queueDepth.set({ queue }, await read())),
      ),
    onFailure: () => {}, // said once by the queue's connection
  });
}
