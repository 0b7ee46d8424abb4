/**
 * Leases that are over. An offer may outlast its upload: the job was tried again, or its answer was
 * slow. Blocks taken under a lease that is never ended again would be held for hours, so the
 * sender offers nothing under it, and the receiver ends it once more after a late offer.
 */
import { RecentMap } from '@shoal/chassis';
import type { Lease } from '@shoal/protocol';

/** Leases remembered: those of the last uploads. An older one runs out by itself. */
const RELEASED_MAX = 4096;

export class ReleasedLeases {
  readonly #leases = new RecentMap<Lease, boolean>({ max: RELEASED_MAX });

  note(lease: Lease, isCompleted: boolean): void {
    this.#leases.set(lease, isCompleted);
  }

  /** How the lease ended: completed by a pin, or given up; undefined while it is in force. */
  wasCompleted(lease: Lease): boolean | undefined {
    return this.#leases.peek(lease);
  }
}
