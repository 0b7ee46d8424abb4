/**
 * A program: runs the peers of its one argument, a JSON array of plans, in its own process. Says where
 * they are in one line on stdout once all are ready; ends them on SIGTERM, or when its parent is gone.
 */
import { once } from 'node:events';
import type { PeerPlan } from '@shoal/cli';
import { startPeer } from './start-peer.ts';

/** A plan, and settings of that peer's services on top of the environment. */
export interface HostedPlan {
  readonly plan: PeerPlan;
  readonly env: Readonly<Record<string, string>>;
}

const PARENT_CHECK_MS = 1000;

const { argv, env, ppid, stdout, stderr } = process;
const stopping = new AbortController();
const stop = (): void => stopping.abort();
process.on('SIGTERM', stop);
const watch = setInterval(() => {
  if (process.ppid !== ppid) stop();
}, PARENT_CHECK_MS);
void main();

async function main(): Promise<void> {
  // Written by the parent a moment ago.
  const plans = JSON.parse(argv[2] ?? '[]') as readonly HostedPlan[];
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
