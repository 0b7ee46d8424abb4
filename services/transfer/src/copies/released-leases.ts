/**
 * Leases that are over. An offer may outlast its upload: the job was tried again, or its answer was
 * slow. What is taken under a lease that nobody will end any more would be held for hours, so the
 * sender offers nothing under it, and the receiver ends it once more after a late offer.
 */
import type { Lease } from '@shoal/protocol';

/** Leases remembered: those of the last uploads. An older one runs out by itself. */
const RELEASED_MAX = 4096;

export interface ReleasedLeases {
  note(lease: Lease, isCompleted: boolean): void;
  /** How the lease ended: completed by a pin, or given up; undefined while it is in force. */
  wasCompleted(lease: Lease): boolean | undefined;
}

export function createReleasedLeases(): ReleasedLeases {
  const released = new Map<Lease, boolean>();
  return {
    note(lease, isCompleted) {
      released.delete(lease); // back to the end: a Map keeps its order of insertion
      released.set(lease, isCompleted);
      const [oldest] = released.keys();
      if (released.size > RELEASED_MAX && oldest !== undefined) released.delete(oldest);
    },
    wasCompleted: (lease) => released.get(lease),
  };
}
