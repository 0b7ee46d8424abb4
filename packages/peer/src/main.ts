/**
 * A program. Without an argument it is the five services of the one peer that its environment names, under a launcher
 * (`shoal peer --one-process`). With one, a JSON array of plans, it runs those peers, each with its Redis, as tests
 * do: says where they are in one line on stdout once all are ready; ends them on SIGTERM, or when its parent is gone.
 */
import { once } from 'node:events';
import type { PeerPlan } from '@shoal/cli';
import { runService } from '@shoal/chassis';
import { startPeer } from './start-peer.ts';
import { wholePeer } from './start-services.ts';

/** A plan, and settings of that peer's services on top of the environment. */
export interface HostedPlan {
  readonly plan: PeerPlan;
  readonly env: Readonly<Record<string, string>>;
}

const PARENT_CHECK_MS = 1000;

const { argv, env, ppid, stdout, stderr } = process;
const [, , argument] = argv;
if (argument === undefined) void runService(wholePeer, env);
// Written by the parent a moment ago.
else void host(JSON.parse(argument) as readonly HostedPlan[]);

async function host(plans: readonly HostedPlan[]): Promise<void> {
  const stopping = new AbortController();
  const stop = (): void => stopping.abort();
  process.on('SIGTERM', stop);
  const watch = setInterval(() => {
    if (process.ppid !== ppid) stop();
  }, PARENT_CHECK_MS);
  const started = await Promise.allSettled(
    plans.map((each) => startPeer(each.plan, { ...env, ...each.env })),
  );
  await using peers = new AsyncDisposableStack();
  const lines = [];
  for (const result of started) {
    if (result.status === 'rejected') {
      stderr.write(`${String(result.reason)}\n`);
      process.exit(1);
    }
    const { peerId, origins, libp2p } = peers.use(result.value);
    lines.push({ peerId, ...origins, libp2p });
  }
  stdout.write(`${JSON.stringify(lines)}\n`);
  if (!stopping.signal.aborted) await once(stopping.signal, 'abort');
  clearInterval(watch);
  await peers.disposeAsync();
  process.exit(0);
}
