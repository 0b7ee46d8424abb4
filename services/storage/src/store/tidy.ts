/** What the store does now and then: lets go of idle leases, and restores the ballast that a full disk took. */
import type { Ballast } from '../disk/ballast.ts';
import type { Blockstore } from './blockstore.ts';
import type { StoreParts } from './state/store-parts.ts';

/** At most so often; a lease that is short is looked after in its own time. */
const TIDY_INTERVAL_MS = 60_000;

export function startTidying({
  leases,
  ballast,
  endLease,
  leaseIdleMs,
  uptimeMs,
  log,
}: Pick<StoreParts, 'leases' | 'uptimeMs' | 'log'> & {
  readonly ballast: Ballast;
  readonly endLease: Blockstore['endLease'];
  readonly leaseIdleMs: number;
}): Disposable {
  const tidy = (): void => {
    for (const lease of leases.idleSince(uptimeMs() - leaseIdleMs)) {
      log.info({ lease }, 'idle lease let go');
      endLease(lease, 'completed').catch((err: unknown) => log.error({ err }, 'lease not ended'));
    }
    ballast.restore().catch((err: unknown) => log.warn({ err }, 'ballast not restored'));
  };
  const timer = setInterval(tidy, Math.min(TIDY_INTERVAL_MS, leaseIdleMs)).unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}
