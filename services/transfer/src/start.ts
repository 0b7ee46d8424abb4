/** The transfer service: moves blocks between peers, both ways, and files to readers. */
import {
  acceptAudited,
  createBufferPool,
  createLimit,
  createLoops,
  createPeerClient,
  createRegistry,
  createServer,
  createTokenBucket,
  type Log,
  mountLoops,
  auditTokens,
  mountAudit,
  openAccess,
  openAudit,
  openClearText,
  openClients,
  openPeerTls,
  openProver,
  ownEndpoints,
  ownHostNames,
  watchRosterFile,
} from '@shoal/chassis';
import { connectEvents } from '@shoal/chassis/events';
import { createProducer } from '@shoal/chassis/queue';
import { CHUNK_SIZE_BYTES } from '@shoal/protocol';
import { join } from 'node:path';
import { createSender } from './answer/send-body.ts';
import type { TransferConfig } from './config.ts';
import { createAcceptReplicas } from './copies/accept-replicas.ts';
import { createCopyBlocks } from './copies/copy-blocks.ts';
import { CopyProofs } from './copies/copy-proofs.ts';
import { createIncoming } from './copies/incoming.ts';
import { ReleasedLeases } from './copies/end-leases.ts';
import { createRepairs } from './copies/repairs.ts';
import { spreadBlocks } from './copies/spread-blocks.ts';
import { createTakeBlocks } from './copies/take-blocks.ts';
import { createGetMetalink, createGetTorrent } from './describe/describe-file.ts';
import { createHashPieces } from './describe/hash-pieces.ts';
import { openPieceStore } from './describe/piece-store.ts';
import { createDownload } from './download.ts';
import { AnyBlocks } from './fetch/any-blocks.ts';
import { createAskStorage } from './fetch/ask-storage.ts';
import { createFetchBlock } from './fetch/fetch.ts';
import { createListedBlocks } from './fetch/listed-blocks.ts';
import { createReceiveBlock } from './fetch/receive-block.ts';
import { readFileBytes } from './file/file-bytes.ts';
import { createManifests } from './file/manifests.ts';
import { mountIpfs } from './ipfs/gateway.ts';
import { createDrain } from './leave/drain.ts';
import { handOver } from './leave/hand-over.ts';
import { createMetrics, watchQueues } from './metrics.ts';
import { watchMembers } from './peers/member-view.ts';
import { PinCache } from './peers/pin-cache.ts';
import { PinLookups } from './peers/pins.ts';
import { createReportCorrupt } from './peers/report-corrupt.ts';
import { mountRoutes } from './routes.ts';
import { settle } from './settle/settle.ts';
import { startSettleLoop } from './settle/settle-loop.ts';
import { startWorkers } from './workers.ts';

/** Buffers kept for the next block; a busier moment's are given back. */
const IDLE_BUFFERS_MAX = 16;
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
  const { roster } = stack.use(watchRosterFile(config.PEER_DATA_DIR, log));
  const prover = openProver(config, roster);
  const tls = openPeerTls(config, log, roster);
  const client = stack.use(createPeerClient({ prover, self, own: ownEndpoints(config), tls }));
  const socket = config.REDIS_SOCKET;
  const events = stack.use(connectEvents(socket, log));
  const view = stack.use(
    watchMembers({ client, self, loops, log, onTable: (asked) => metrics.members.set(asked) }),
  );

  const cache = new PinCache();

  // Blocks: one way to fetch, and two strategies on it.
  const reportCorrupt = createReportCorrupt({ client, metrics, log });
  const receive = createReceiveBlock({
    client,
    pool: createBufferPool(CHUNK_SIZE_BYTES, IDLE_BUFFERS_MAX),
    stallMs: config.TRANSFER_BLOCK_STALL_MS,
    timeoutMs: config.TRANSFER_BLOCK_TIMEOUT_MS,
  });
  const ask = createAskStorage({ client, receive, view, metrics, reportCorrupt, log });
  const fetchBlock = createFetchBlock({ ask, view, metrics, log }, { signal });
  const listed = createListedBlocks({ client, view, fetchBlock, log });
  const any = stack.use(new AnyBlocks({ client, view, ask, fetchBlock, log }, { signal }));
  const manifests = createManifests({ client, log });

  // Copies: offered, accepted, repaired, settled.
  const proofs = stack.use(new CopyProofs({ client, self, metrics, log }));
  const released = new ReleasedLeases();
  const incoming = createIncoming();
  const repairs = createRepairs({
    client,
    incoming,
    bucket: createTokenBucket({
      ratePerSecond: config.TRANSFER_REPAIR_BYTES_PER_SECOND,
      nowMs: () => performance.now(),
    }),
    blocksMax: config.TRANSFER_REPAIRS_MAX,
    metrics,
    log,
  });
  const settling = { client, view, listed, manifests, repairs, proofs, metrics, log };
  const loop = stack.use(
    startSettleLoop({
      client,
      cache,
      view,
      metrics,
      loops,
      log,
      settle: (root, options) => settle(root, settling, options),
      onRepair: (cid, { copiedBlocks, droppedBlocks }) =>
        events.publish({ kind: 'repair', atMs: Date.now(), cid, copiedBlocks, droppedBlocks }),
      intervalMs: config.TRANSFER_SETTLE_INTERVAL_MS,
      resettleMs: config.TRANSFER_RESETTLE_MS,
      delayMs: config.TRANSFER_SETTLE_DELAY_MS,
    }),
  );
  const leaving = { client, view, listed, manifests, loop, proofs, metrics, log };

  // Files: read by clients, and by this service to be hashed.
  const sender = createSender(
    { metrics, log },
    {
      bodiesMax: config.TRANSFER_DOWNLOADS_MAX,
      budgetBlocks: config.TRANSFER_WINDOW_BLOCKS,
      windowMaxBlocks: config.TRANSFER_DOWNLOAD_WINDOW_BLOCKS,
      readerStallMs: config.TRANSFER_READER_STALL_MS,
    },
  );
  const hashing = new AbortController();
  const hashPieces = createHashPieces(
    {
      metrics,
      log,
      store: await openPieceStore(join(config.PEER_DATA_DIR, 'transfer', 'pieces'), { log }),
      readFile: (pin, options) => readFileBytes(pin, { listed, any, manifests }, options),
    },
    { signal: hashing.signal },
  );
  const pins = new PinLookups({ client, cache }, { signal });
  const reading = { client, pins, view, listed, any, manifests, sender };
  const describing = { pins, view, listed, manifests, hashPieces };

  let isStopping = false;
  const whyNotReady = () => {
    if (isStopping) return 'stopping';
    return view.isKnown() ? undefined : 'the member table is not here yet';
  };
  const access = openAccess(config, roster);
  const clients = openClients(config, { access, prover });
  const audit = stack.use(openAudit(config, 'transfer', { registry, log }));
  const app = stack.adopt(
    createServer({
      service: 'transfer',
      log,
      registry,
      whyNotReady,
      hostNames: ownHostNames(config),
      access,
      prover,
      clearText: openClearText(config),
      clients,
      peers: acceptAudited(tls, metrics.tlsHandshakes, audit),
    }),
    (server) => server.close(),
  );
  const mounting = { app, prover, self };
  mountLoops(mounting, 'transfer', loops);
  stack.use(auditTokens(app, audit, clients));
  mountAudit(mounting, 'transfer', audit);
  mountRoutes(mounting, {
    download: createDownload(reading),
    getTorrent: createGetTorrent(describing),
    getMetalink: createGetMetalink(describing),
    acceptReplicas: createAcceptReplicas({
      client,
      view,
      receive,
      limit: createLimit(config.TRANSFER_COPIES_MAX),
      incoming,
      reportCorrupt,
      released,
      metrics,
      log,
    }),
    takeBlocks: createTakeBlocks({ client, view, incoming, released, metrics }),
    spread: (blocks, wishes) =>
      spreadBlocks(blocks, wishes, { client, view, proofs, released, metrics, log }, { signal }),
    copyBlocks: createCopyBlocks({ client, view, fetchBlock, repairs, log }),
    loop,
    cache,
    drain: createDrain(leaving, { signal }),
    released,
    client,
  });
  mountIpfs(
    mounting,
    { ...reading, metrics, log },
    {
      rawBlocksMax: config.TRANSFER_RAW_BLOCKS_MAX,
      carsMax: config.TRANSFER_CAR_EXPORTS_MAX,
      readerStallMs: config.TRANSFER_READER_STALL_MS,
    },
  );

  startWorkers(
    { socket, replicateJobsMax: config.TRANSFER_REPLICATE_JOBS_MAX },
    { client, view, proofs, released, loop, metrics, log },
    stack,
    { signal },
  );
  watchQueues(
    registry,
    (['replicate', 'settle', 'release'] as const).map((queue) => {
      const producer = stack.use(createProducer(queue, socket, log));
      return { queue, depth: () => producer.depth() };
    }),
  );

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
      const done = await handOver(leaving, { signal: AbortSignal.timeout(timeoutMs) });
      log.debug({ ...done }, 'nothing more to hand over');
    } catch (err) {
      log.warn({ err, timeoutMs }, 'not all files were looked at before stopping');
    }
  });
  const running = stack.move(); // nothing failed: hand the resources to the caller
  return { origin, [Symbol.asyncDispose]: () => running.disposeAsync() };
}
