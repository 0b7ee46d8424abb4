/**
 * A program: runs the peers of its one argument, a JSON array of plans, in its own process. Says where
 * they are in one line on stdout once all are ready; ends them on SIGTERM, or when its parent is gone.
 */
import { once } from 'node:events';
import { argv, env, exit, ppid, stdout } from 'node:process';
import type { PeerPlan } from '@shoal/cli';
import { startPeerHere } from './start-peer-here.ts';

/** A plan, and settings of that peer's services on top of the environment. */
export interface HostedPlan {
  readonly plan: PeerPlan;
  readonly env: Readonly<Record<string, string>>;
}

const PARENT_CHECK_MS = 1000;

const parent = ppid;
const stopping = new AbortController();
const stop = (): void => stopping.abort();
process.on('SIGTERM', stop);
const watch = setInterval(() => process.ppid !== parent && stop(), PARENT_CHECK_MS);

// What testkit itself wrote, a moment ago.
const plans = JSON.parse(argv[2] ?? '[]') as readonly HostedPlan[];
const started = await Promise.allSettled(
  plans.map((each) => startPeerHere(each.plan, { ...env, ...each.env })),
);
await using peers = new AsyncDisposableStack();
for (const result of started) if (result.status === 'fulfilled') peers.use(result.value);
for (const result of started)
  if (result.status === 'rejected') {
    process.stderr.write(`${String(result.reason)}\n`);
    exit(1);
  }
const lines = started.flatMap((result) =>
  result.status === 'fulfilled'
    ? [{ peerId: result.value.peerId, ...result.value.origins, libp2p: result.value.libp2p }]
    : [],
);
stdout.write(`${JSON.stringify(lines)}\n`);
if (!stopping.signal.aborted) await once(stopping.signal, 'abort');
clearInterval(watch);
await peers.disposeAsync();
exit(0);
