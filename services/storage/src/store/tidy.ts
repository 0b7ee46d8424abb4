/** The store's housekeeping: drops idle leases, and restores the ballast that a full disk took. */
import type { Loops } from '@shoal/chassis';
import type { Ballast } from '../disk/ballast.ts';
import type { Blockstore } from './blockstore.ts';
import type { StoreParts } from './state/store-parts.ts';

/** Longest pause; with shorter leases it is theirs. */
const TIDY_INTERVAL_MS = 60_000;

export function startTidying({
  leases,
  ballast,
  endLease,
  leaseIdleMs,
  uptimeMs,
  loops,
  log,
}: Pick<StoreParts, 'leases' | 'uptimeMs' | 'log'> & {
  readonly ballast: Ballast;
  readonly endLease: Blockstore['endLease'];
  readonly leaseIdleMs: number;
  readonly loops: Loops;
}): Disposable {
  const everyMs = () => Math.min(TIDY_INTERVAL_MS, leaseIdleMs);
  const stack = new DisposableStack();
  stack.use(
    loops.start({
      name: 'idle-leases',
      everyMs,
      async run() {
        const idle = [...leases.idleSince(uptimeMs() - leaseIdleMs)];
        for (const lease of idle) log.info({ lease }, 'idle lease dropped');
        await Promise.all(idle.map((lease) => endLease(lease, 'completed')));
      },
      onFailure: (err) => log.error({ err }, 'lease not ended'),
    }),
  );
  stack.use(
    loops.start({
      name: 'ballast',
      everyMs,
      run: () => ballast.restore(),
      onFailure: (err) => log.warn({ err }, 'ballast not restored'),
    }),
  );
  return stack;
}
