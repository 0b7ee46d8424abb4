/** A gateway before stand-in services that are real HTTP servers, and what tests wait with. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createLog, loadConfig, openIdentity } from '@shoal/chassis';
import type { Service } from '@shoal/protocol';
import { GatewayConfig, startGateway } from '../../src/start.ts';

type Upstreams = Partial<Record<Exclude<Service, 'gateway'>, RequestListener>>;

/** A folder that is removed with its contents. */
export async function openFolder(): Promise<AsyncDisposable & { path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'shoal-gateway-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** The environment of a gateway before these services; a service without a listener is down. */
export async function openUpstreams(
  listeners: Upstreams,
  settings: Readonly<Record<string, string>> = {},
) {
  await using stack = new AsyncDisposableStack();
  const { path } = stack.use(await openFolder());
  await writeFile(join(path, 'swarm.key'), 'ab'.repeat(32), { mode: 0o600 });
  const originOf = async (listener: RequestListener | undefined): Promise<string> => {
    const server = createServer(listener);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    if (listener === undefined) await close(server); // the port is free again: nobody answers
    else stack.defer(() => close(server));
    return `http://127.0.0.1:${port}`;
  };
  const env = {
    PEER_ID: openIdentity(join(path, 'identity.key')).peerId,
    PEER_DATA_DIR: path,
    SWARM_KEY_FILE: join(path, 'swarm.key'),
    REDIS_SOCKET: join(path, 'redis.sock'),
    LOG_LEVEL: 'silent',
    SHUTDOWN_TIMEOUT_MS: '1000',
    GATEWAY_PORT: '0',
    GATEWAY_URL: 'http://127.0.0.1:1',
    CHUNKER_URL: await originOf(listeners.chunker),
    STORAGE_URL: await originOf(listeners.storage),
    TRANSFER_URL: await originOf(listeners.transfer),
    DISCOVERY_URL: await originOf(listeners.discovery),
    ...settings,
  };
  const running = stack.move();
  return { env, path, [Symbol.asyncDispose]: () => running.disposeAsync() };
}

/** A gateway in this process. */
export async function openGateway(
  listeners: Upstreams,
  settings: Readonly<Record<string, string>> = {},
) {
  await using stack = new AsyncDisposableStack();
  const { env, path } = stack.use(await openUpstreams(listeners, settings));
  const config = loadConfig(GatewayConfig, env);
  const { origin } = stack.use(await startGateway(config, createLog('gateway', 'silent')));
  const running = stack.move();
  return {
    origin,
    path,
    redisSocket: env.REDIS_SOCKET,
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

/** Waits until the claim holds. @throws Error when it doesn't within the time. */
export async function until(
  claim: () => boolean | Promise<boolean>,
  what: string,
  withinMs = 5000,
): Promise<void> {
  const deadline = performance.now() + withinMs;
  while (!(await claim())) {
    if (performance.now() > deadline) throw new Error(`not within ${withinMs} ms: ${what}`);
    await sleep(10);
  }
}

async function close(server: Server): Promise<void> {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
}
