/**
 * A whole peer in the caller's process, as the launcher would run it: the same plan, the same
 * environment, a Redis of its own, and a log for each service. For tests that only ask: nothing of it
 * can be killed alone, and a start costs a tenth of what six processes cost.
 */
import { appendFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
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
import { startServices } from '@shoal/peer';
import { type PeerId, type Service, SERVICES } from '@shoal/protocol';
import { request } from 'undici';
import { eventually } from './eventually.ts';

const READY_TIMEOUT_MS = 90_000;
const REDIS_STOP_TIMEOUT_MS = 5000;

export interface PeerHere extends AsyncDisposable {
  readonly peerId: PeerId;
  readonly origins: Readonly<Record<Service, string>>;
  /** `host:port` to give to others as a seed. */
  readonly libp2p: string;
}

/** Starts a peer in this process and waits until all its services can serve. */
export async function startPeerHere(
  plan: PeerPlan,
  env: Readonly<Record<string, string | undefined>>,
): Promise<PeerHere> {
  await using starting = new AsyncDisposableStack();
  const { dataDir } = plan;
  const runDir = openRunFolder(dataDir);
  starting.defer(() => closeRunFolder(runDir));
  starting.use(await lockFolder(runDir, dataDir));
  const logs = join(dataDir, 'logs');
  mkdirSync(logs, { recursive: true, mode: 0o700 });
  const socket = join(runDir, 'redis.sock');
  const redis = spawnRedis({ program: findRedisServer(env), socket, output: 'ignore' });
  starting.defer(async () => {
    redis.kill('SIGTERM');
    await eventually('Redis stopped', () => redis.exitCode !== null || redis.signalCode !== null, {
      timeoutMs: REDIS_STOP_TIMEOUT_MS,
    });
  });
  await waitForRedis(socket, { signal: AbortSignal.timeout(READY_TIMEOUT_MS) });
  const peer = describePeer(plan, { env, socket });
  starting.use(
    await startServices(peer.env, {
      logOf: (service) => (line) => appendFileSync(join(logs, `${service}.log`), line),
    }),
  );
  for (const service of SERVICES)
    await eventually(
      `${service} of ${plan.label} is ready`,
      async () => {
        const { statusCode, body } = await request(`${peer.origins[service]}/readyz`);
        await body.dump();
        return statusCode === 200;
      },
      { timeoutMs: READY_TIMEOUT_MS },
    );
  const running = starting.move();
  const { peerId, origins, libp2p } = peer;
  return { peerId, origins, libp2p, [Symbol.asyncDispose]: () => running.disposeAsync() };
}
