import { join } from 'node:path';
import multipart from '@fastify/multipart';
import {
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
  openClients,
  openProver,
  ownEndpoints,
  isAlive,
  type PeerClient,
  ownHostNames,
  watchRosterFile,
} from '@shoal/chassis';
import { connectEvents } from '@shoal/chassis/events';
import { CHUNK_SIZE_BYTES, ServiceUnavailable } from '@shoal/protocol';
import { createChunkBuffers } from './intake/chunk-buffers.ts';
import type { ChunkerConfig } from './config.ts';
import type { IntakeDeps } from './intake/intake.ts';
import { createGateways } from './import/gateways.ts';
import { mountImports } from './import/import-routes.ts';
import { createLeases } from './intake/end-leases.ts';
import { mountKuboForms } from './kubo-routes.ts';
import { createTakeRequest } from './request/take-request.ts';
import { createMembers } from './intake/members.ts';
import { createMetrics } from './metrics.ts';
import { createProgressEvents } from './intake/progress.ts';
import { createPinBatches } from './intake/put-pin.ts';
import { startReplicator } from './intake/replicate-jobs.ts';
import { openResumables } from './resumable/uploads.ts';
import { createRoom } from './intake/room.ts';
import { SmallFiles } from './intake/small-files.ts';
import { createQuota } from './quota.ts';
import { mountChunker } from './routes.ts';
import { mountTus } from './tus/routes.ts';

/** Buffers beyond one for each upload: what fast uploads keep in flight. */
const BUFFERS_IN_FLIGHT = 12;

export interface Chunker extends AsyncDisposable {
  readonly origin: string;
}

export async function startChunker(config: ChunkerConfig, log: Log): Promise<Chunker> {
  await using stack = new AsyncDisposableStack(); // a throw below closes what was opened
  const self = config.PEER_ID;
  const prover = openProver(config);
  const registry = createRegistry('chunker');
  const metrics = createMetrics(registry);
  const loops = createLoops({ metrics: metrics.loops, log });
  const client = stack.use(createPeerClient({ prover, self, own: ownEndpoints(config) }));
  const replicator = stack.use(startReplicator({ socket: config.REDIS_SOCKET, log, metrics }));
  const progressEvents = createProgressEvents(stack.use(connectEvents(config.REDIS_SOCKET, log)));
  const leases = stack.use(createLeases({ client, log }));
  const members = createMembers({ client, log });
  const stop = new AbortController();
  const intake: IntakeDeps = {
    client,
    log,
    metrics,
    leases,
    replicator,
    progressEvents,
    buffers: createChunkBuffers({ sizeBytes: CHUNK_SIZE_BYTES, sharedMax: BUFFERS_IN_FLIGHT }),
    members,
    pins: createPinBatches(
      { client, timeoutMs: config.CHUNKER_PIN_TIMEOUT_MS },
      { signal: stop.signal },
    ),
    smallFiles: new SmallFiles({ client, log, stopping: stop.signal }),
    quota: createQuota({ client }),
    room: createRoom({ client, members, stopping: stop.signal, log }),
    putsMax: config.CHUNKER_PUTS_MAX,
    pinTimeoutMs: config.CHUNKER_PIN_TIMEOUT_MS,
    copiesTimeoutMs: config.CHUNKER_COPIES_TIMEOUT_MS,
    stopping: stop.signal,
  };
  const resumable = {
    folder: join(config.PEER_DATA_DIR, 'chunker', 'uploads'),
    expiresMs: config.CHUNKER_TUS_EXPIRES_MS,
    openMax: config.CHUNKER_TUS_UPLOADS_MAX,
    sizeMaxBytes: config.CHUNKER_TUS_SIZE_MAX_BYTES,
  };
  const gateways = stack.use(
    createGateways({
      allowed: config.PIN_GATEWAYS,
      mayBePrivate: config.PIN_GATEWAYS_ALLOW_PRIVATE,
    }),
  );
  const resumables = stack.use(await openResumables({ ...resumable, loops }, intake));

  const { roster } = stack.use(watchRosterFile(config.PEER_DATA_DIR, log));
  const access = openAccess(config, roster);
  const clients = openClients(config, { access, prover });
  const audit = stack.use(openAudit(config, 'chunker', { registry, log }));
  const app = createServer({
    service: 'chunker',
    log,
    registry,
    whyNotReady: () => whyNotReady(client),
    hostNames: ownHostNames(config),
    access,
    prover,
    clearText: openClearText(config),
    clients,
  });
  stack.adopt(app, async (server) => {
    const late = setTimeout(
      () => stop.abort(new ServiceUnavailable({ service: 'chunker' })),
      config.SHUTDOWN_TIMEOUT_MS,
    );
    await server.close();
    clearTimeout(late);
  });
  await app.register(multipart);
  const mounting = { app, prover, self };
  mountLoops(mounting, 'chunker', loops);
  stack.use(auditTokens(app, audit, clients));
  mountAudit(mounting, 'chunker', audit);
  const limits = {
    uploadsMax: config.CHUNKER_UPLOADS_MAX,
    bytesPerSecondMin: config.CHUNKER_BODY_RATE_MIN_BYTES,
    rateWindowMs: config.CHUNKER_BODY_RATE_WINDOW_MS,
  };
  mountChunker(mounting, intake, {
    ...limits,
    formFilesMax: config.CHUNKER_FORM_FILES_MAX,
    directoryFilesMax: config.CHUNKER_DIRECTORY_FILES_MAX,
  });
  const importing = { ...intake, gateways, entriesMax: config.CHUNKER_DAG_BLOCKS_MAX };
  const importLimits = { ...limits, uploadsMax: config.CHUNKER_IMPORTS_MAX };
  const takeImport = createTakeRequest(intake, importLimits, 'imports');
  mountImports(mounting, importing, takeImport);
  mountKuboForms(mounting, importing, {
    takeUpload: createTakeRequest(intake, limits),
    takeImport,
    directoryFilesMax: config.CHUNKER_DIRECTORY_FILES_MAX,
  });
  mountTus(mounting, resumables, intake, { ...limits, ...resumable });
  const origin = await app.listen({ port: config.CHUNKER_PORT, host: config.BIND_HOST });

  const running = stack.move();
  return { origin, [Symbol.asyncDispose]: () => running.disposeAsync() };
}

/** Without storage nothing can be taken in, without discovery nothing can be listed. */
async function whyNotReady(client: PeerClient): Promise<string | undefined> {
  const answers = await Promise.all(
    (['storage', 'discovery'] as const).map(async (service) => ({
      service,
      isAlive: await isAlive(client.own(service).origin),
    })),
  );
  const silent = answers.find(({ isAlive: answered }) => !answered);
  return silent === undefined ? undefined : `${silent.service} does not answer`;
}
