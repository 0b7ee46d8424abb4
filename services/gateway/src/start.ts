import {
  auditTokens,
  createLoops,
  createPeerClient,
  openAudit,
  createRegistry,
  createServer,
  type Log,
  mountLoops,
  openAccess,
  openClearText,
  openClients,
  openProver,
  ownEndpoints,
  ownHostNames,
  watchRosterFile,
} from '@shoal/chassis';
import { mountPeerAudit } from './audit.ts';
import type { GatewayConfig } from './config.ts';
import { mountConsole } from './console.ts';
import { startEvents } from './events.ts';
import { openCertificate } from './https/certificate.ts';
import { promiseHttps } from './https/hsts.ts';
import { mountKubo } from './kubo/mount.ts';
import { createMetrics } from './metrics.ts';
import { mountProxy } from './proxy/proxy.ts';
import { whyNotReady } from './proxy/readiness.ts';
import { TABLE } from './proxy/table.ts';

export { GatewayConfig } from './config.ts';

/** Starts the front door; disposing lets requests in flight end, for a while. */
export async function startGateway(
  config: GatewayConfig,
  log: Log,
): Promise<AsyncDisposable & { origin: string }> {
  await using stack = new AsyncDisposableStack();
  const origins = ownEndpoints(config);
  const registry = createRegistry('gateway');
  const metrics = createMetrics(registry);
  const loops = createLoops({ metrics: metrics.loops, log });
  const { roster } = stack.use(watchRosterFile(config.PEER_DATA_DIR, log));
  const access = openAccess(config, roster);
  const prover = openProver(config);
  const clients = openClients(config, { access });
  const audit = stack.use(openAudit(config, 'gateway', { registry, log }));
  const certificate = stack.use(openCertificate(config, { loops, metrics, log }));
  const app = createServer({
    service: 'gateway',
    log,
    registry,
    whyNotReady: () => whyNotReady(origins),
    hostNames: ownHostNames(config),
    access,
    prover,
    clearText: openClearText(config),
    clients,
    people: certificate?.people,
  });
  stack.use(auditTokens(app, audit, clients));
  if (certificate !== undefined) promiseHttps(app, config.GATEWAY_HSTS_SECONDS);
  const patience = {
    answerTimeoutMs: config.GATEWAY_ANSWER_TIMEOUT_MS,
    uploadAnswerTimeoutMs: config.GATEWAY_UPLOAD_ANSWER_TIMEOUT_MS,
    bodyBeginTimeoutMs: config.GATEWAY_BODY_BEGIN_TIMEOUT_MS,
    bodyIdleTimeoutMs: config.GATEWAY_BODY_IDLE_TIMEOUT_MS,
  };
  const requestsMax = config.GATEWAY_REQUESTS_MAX;
  stack.use(mountProxy(app, { table: TABLE, origins, clients, requestsMax, ...patience, metrics }));
  stack.use(
    mountKubo(app, {
      self: config.PEER_ID,
      origins,
      clients,
      prover,
      access,
      ...patience,
      metrics,
    }),
  );
  await mountConsole(app);
  const mounting = { app, prover, self: config.PEER_ID };
  mountLoops(mounting, 'gateway', loops);
  const client = stack.use(createPeerClient({ prover, self: config.PEER_ID, own: origins }));
  mountPeerAudit(mounting, { audit, client });
  stack.use(
    startEvents(app, {
      redisSocket: config.REDIS_SOCKET,
      clientsMax: config.GATEWAY_EVENTS_CLIENTS_MAX,
      heartbeatMs: config.GATEWAY_EVENTS_HEARTBEAT_MS,
      loops,
      log,
      metrics,
    }),
  );
  stack.defer(() => {
    // Clients still here after this have their sockets closed: better than a stop that hangs.
    const late = setTimeout(() => app.server.closeAllConnections(), config.SHUTDOWN_TIMEOUT_MS);
    return app.close().finally(() => clearTimeout(late));
  });
  const origin = await app.listen({ port: config.GATEWAY_PORT, host: config.BIND_HOST });

  const running = stack.move();
  return { origin, [Symbol.asyncDispose]: () => running.disposeAsync() };
}
