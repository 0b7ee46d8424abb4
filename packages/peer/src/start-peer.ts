/**
 * A whole peer in the caller's process, as the launcher would run it: the same plan, the same
 * environment, a Redis of its own on a unix socket, and a log file for each service. A start costs a
 * tenth of what six processes cost; nothing of it can be killed alone.
 */
import { once } from 'node:events';
import { appendFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  closeRunFolder,
  describePeer,
  findRedisServer,
  lockFolder,
  openRunFolder,
  type PeerPlan,
  spawnRedis,
  waitForRedis,
} from '@shoal/cli';
import { type PeerId, type Service, SERVICES } from '@shoal/protocol';
import { startServices } from './start-services.ts';

/**
 * Start of a peer in one process.
 * Past it: the start fails, by the name of the service that is not ready.
 */
const READY_TIMEOUT_MS = 60_000;
const READY_POLL_MS = 50;

export interface PeerHere extends AsyncDisposable {
  readonly peerId: PeerId;
  /** Where each service answers on this machine. */
  readonly origins: Readonly<Record<Service, string>>;
  /** `host:port` that other peers can give as a seed. */
  readonly libp2p: string;
}

/**
 * Starts a peer in this process and waits until all its services can serve.
 * @throws CommandFailure when the data folder or a program is not to be had; ConfigError; Error past a
 *   deadline.
 */
export async function startPeer(
  plan: PeerPlan,
  env: Readonly<Record<string, string | undefined>>,
): Promise<PeerHere> {
  await using starting = new AsyncDisposableStack();
  const runDir = openRunFolder(plan.dataDir);
  starting.defer(() => closeRunFolder(runDir, plan.dataDir));
  starting.use(await lockFolder(runDir, plan.dataDir));
  const logs = join(plan.dataDir, 'logs');
  mkdirSync(logs, { recursive: true, mode: 0o700 });
  const socket = join(runDir, 'redis.sock');
  const redis = spawnRedis({ program: findRedisServer(env), socket, output: 'ignore' });
  starting.defer(async () => {
    if (redis.exitCode !== null || redis.signalCode !== null) return;
    const ended = once(redis, 'exit');
    redis.kill('SIGTERM');
    await ended;
  });
  const signal = AbortSignal.timeout(READY_TIMEOUT_MS);
  await waitForRedis(socket, { signal });
  const { peerId, origins, libp2p, env: environment } = describePeer(plan, { env, socket });
  starting.use(
    await startServices(environment, {
      logOf: (service) => (line) => appendFileSync(join(logs, `${service}.log`), line),
    }),
  );
  for (const service of SERVICES)
    while (!(await isReady(origins[service]))) {
      if (signal.aborted) throw new Error(`${service} of ${plan.label} is not ready`);
      await sleep(READY_POLL_MS);
    }
  const running = starting.move();
  return { peerId, origins, libp2p, [Symbol.asyncDispose]: () => running.disposeAsync() };
}

async function isReady(origin: string): Promise<boolean> {
  const { ok } = await fetch(`${origin}/readyz`);
  return ok;
}
