/**
 * Puts the storage service together: the store on this peer's disk, upkeep beside it, and the routes above both. What
 * is opened is closed in the reverse order: requests end first, and the store last.
 */
import { join } from 'node:path';
import {
  acceptAudited,
  createLoops,
  createPeerClient,
  createRegistry,
  createServer,
  type Log,
  mountLoops,
  auditTokens,
  mountAudit,
  openAccess,
  openAudit,
  openClearText,
  openPeerTls,
  openProver,
  ownEndpoints,
  ownHostNames,
  watchRosterFile,
} from '@shoal/chassis';
import type { Cid } from '@shoal/protocol';
import type { StorageConfig } from './config.ts';
import { createDagListings } from './dags/dag-listing.ts';
import { readNodeFrom } from './dags/dags.ts';
import { openDiskBlockstore } from './store/disk-blockstore.ts';
import { createGatherLoops } from './upkeep/gather-loops.ts';
import { createLivePins } from './upkeep/live-pins.ts';
import { createPurges } from './upkeep/make-room.ts';
import { createMetrics } from './metrics.ts';
import { watchStore } from './upkeep/store-gauges.ts';
import { mountRoutes } from './routes.ts';
import { createAskForCopies, createSettleFiles, startUpkeep } from './upkeep/upkeep.ts';

/** Starts the storage service: opens this peer's blocks and serves them. */
export async function startStorage(
  config: Readonly<StorageConfig>,
  log: Log,
): Promise<AsyncDisposable & { readonly origin: string }> {
  await using stack = new AsyncDisposableStack(); // a throw below closes what was opened, in reverse
  const registry = createRegistry('storage');
  const metrics = createMetrics(registry);
  const loops = createLoops({ metrics: metrics.loops, log });
  const dir = join(config.PEER_DATA_DIR, 'storage');
  const clocks = { nowMs: Date.now, uptimeMs: () => performance.now() };
  const store = stack.use(
    await openDiskBlockstore({
      dir,
      isDurable: config.STORAGE_FSYNC,
      capacityBytes: config.STORAGE_CAPACITY_BYTES,
      reserveBytes: config.STORAGE_RESERVE_BYTES,
      readsMax: config.STORAGE_READS_MAX,
      waitingMax: config.STORAGE_WAITING_MAX,
      repairShare: config.STORAGE_REPAIR_RESERVE_SHARE,
      leaseIdleMs: config.STORAGE_LEASE_IDLE_MS,
      scrubIntervalMs: config.STORAGE_SCRUB_INTERVAL_MS,
      ...clocks,
      loops,
      metrics,
      log,
    }),
  );
  watchStore(registry, store);
  const readNode = (cid: Cid) => readNodeFrom(store, cid);
  const listings = createDagListings({ readNode, blocksMax: config.STORAGE_LISTING_BLOCKS_MAX });
  const { roster } = stack.use(watchRosterFile(config.PEER_DATA_DIR, log));
  const prover = openProver(config, roster);
  const tls = openPeerTls(config, log, roster);
  const client = stack.use(
    createPeerClient({ prover, self: config.PEER_ID, own: ownEndpoints(config), tls }),
  );
  const upkeep = stack.use(
    await startUpkeep({
      store,
      // Going over every file would push out what is asked for often.
      listings: createDagListings({ readNode, blocksMax: 0 }),
      livePins: createLivePins(client, { orDeleted: true }),
      livePinsAlone: createLivePins(client, { orDeleted: false }),
      purges: createPurges(client),
      askForCopies: createAskForCopies(client),
      settleFiles: createSettleFiles(client),
      reportsFile: join(dir, 'upkeep.json'),
      scrubIntervalMs: config.STORAGE_SCRUB_INTERVAL_MS,
      scrubBytesPerSecond: config.STORAGE_SCRUB_BYTES_PER_SECOND,
      sweepIntervalMs: config.STORAGE_SWEEP_INTERVAL_MS,
      sweepGraceMs: config.STORAGE_SWEEP_GRACE_MS,
      ...clocks,
      loops,
      gatherLoops: createGatherLoops(client, loops),
      metrics,
      log,
    }),
  );
  const audit = stack.use(openAudit(config, 'storage', { registry, log }));
  const access = openAccess(config, roster);
  const app = stack.adopt(
    createServer({
      service: 'storage',
      log,
      registry,
      whyNotReady: () => store.whyNotWritable(),
      hostNames: ownHostNames(config),
      access,
      prover,
      clearText: openClearText(config),
      peers: acceptAudited(tls, metrics.tlsHandshakes, audit),
    }),
    (server) => server.close(),
  );
  app.addHook('preClose', () => upkeep[Symbol.asyncDispose]()); // a request that waits for a sweep gets its answer
  const mounting = { app, prover, self: config.PEER_ID };
  mountLoops(mounting, 'storage', loops);
  stack.use(auditTokens(app, audit));
  mountAudit(mounting, 'storage', audit);
  mountRoutes({
    mounting,
    store,
    listings,
    upkeep,
    metrics,
    log,
    limits: {
      writesMax: config.STORAGE_WRITES_MAX,
      waitingMax: config.STORAGE_WAITING_MAX,
      stallTimeoutMs: config.STORAGE_STALL_TIMEOUT_MS,
    },
  });
  const origin = await app.listen({ port: config.STORAGE_PORT, host: config.BIND_HOST });

  const running = stack.move(); // nothing failed: hand the resources to the caller
  return { origin, [Symbol.asyncDispose]: () => running.disposeAsync() };
}
