import { join } from 'node:path';
import { createRegistry, createServer, type Log, openProver } from '@shoal/chassis';
import type { StorageConfig } from './config.ts';
import { createDagListings } from './dag-listing.ts';
import { openDiskBlockstore } from './disk-blockstore.ts';
import { createMetrics, watchStore } from './metrics.ts';
import { mountRoutes, readNodeFrom } from './routes.ts';

/** Starts the storage service: opens this peer's blocks and serves them. */
export async function startStorage(
  config: Readonly<StorageConfig>,
  log: Log,
): Promise<AsyncDisposable & { readonly origin: string }> {
  await using stack = new AsyncDisposableStack(); // a throw below closes what was opened, in reverse
  const registry = createRegistry('storage');
  const metrics = createMetrics(registry);
  const store = stack.use(
    await openDiskBlockstore({
      dir: join(config.PEER_DATA_DIR, 'storage'),
      isDurable: config.STORAGE_FSYNC,
      capacityBytes: config.STORAGE_CAPACITY_BYTES,
      reserveBytes: config.STORAGE_RESERVE_BYTES,
      readsMax: config.STORAGE_READS_MAX,
      waitingMax: config.STORAGE_WAITING_MAX,
      leaseIdleMs: config.STORAGE_LEASE_IDLE_MS,
      nowMs: Date.now,
      metrics,
      log,
    }),
  );
  watchStore(registry, store);
  const listings = createDagListings({
    readNode: (cid) => readNodeFrom(store, cid),
    blocksMax: config.STORAGE_LISTING_BLOCKS_MAX,
  });
  const app = stack.adopt(
    createServer({
      service: 'storage',
      log,
      registry,
      whyNotReady: () => store.whyNotWritable(),
    }),
    (server) => server.close(),
  );
  mountRoutes({
    mounting: {
      app,
      prover: openProver(config),
      self: config.PEER_ID,
    },
    store,
    listings,
    metrics,
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
