/**
 * Which uploads hold which blocks. An upload that fails must leave nothing, but a block that another
 * upload or a pin counts on must stay, however the two overlap.
 *
 * A block is *provisional* while leases alone speak for it: the last of them to fail takes it along.
 * It stops being provisional, for good, when an upload that held it succeeds, when it is put without
 * a lease, or when a pin reaches it. Across a restart only the first lease of a provisional block is
 * remembered (in the index); a block that had two is then treated as not provisional, which may
 * leave a block too many, never one too few.
 */
import type { Lease } from '@shoal/protocol';
import type { Digest } from '../disk/block-record.ts';

/** Given-up leases that are remembered, so that a late put does not bring one back. */
const ENDED_LEASES_MAX = 4096;

export interface Leases {
  /** Holds a block; `isProvisional` says whether leases alone speak for it. */
  hold(lease: Lease, digest: Digest, options: { isProvisional: boolean; nowMs: number }): void;
  /** From now on something other than leases speaks for the block. */
  settle(digest: Digest): void;
  isHeld(digest: Digest): boolean;
  isProvisional(digest: Digest): boolean;
  /** True when the lease was given up not long ago. */
  isEnded(lease: Lease): boolean;
  /** Ends a lease without success; gives the blocks that nothing speaks for any more. */
  giveUp(lease: Lease): Digest[];
  /** Ends a lease with success; gives the blocks that were provisional until now. */
  complete(lease: Lease): Digest[];
  /** Forgets a block that is no longer held. */
  forget(digest: Digest): void;
  /** Leases under which nothing was put since `beforeMs`. */
  idleSince(beforeMs: number): Lease[];
  readonly count: number;
}

export function createLeases(): Leases {
  const byLease = new Map<Lease, { digests: Set<Digest>; usedAtMs: number }>();
  const byDigest = new Map<Digest, { leases: Set<Lease>; isProvisional: boolean }>();
  const ended = new Set<Lease>();

  /** Takes a lease away; calls back for each block it held, with what is left of the block's holds. */
  const release = (
    lease: Lease,
    each: (digest: Digest, hold: { leases: Set<Lease>; isProvisional: boolean }) => void,
  ): void => {
    for (const digest of byLease.get(lease)?.digests ?? []) {
      const hold = byDigest.get(digest);
      if (hold === undefined) continue;
      hold.leases.delete(lease);
      each(digest, hold);
      if (hold.leases.size === 0) byDigest.delete(digest);
    }
    byLease.delete(lease);
  };

  return {
    hold(lease, digest, { isProvisional, nowMs }) {
      const held = byLease.get(lease) ?? { digests: new Set<Digest>(), usedAtMs: nowMs };
      held.digests.add(digest);
      held.usedAtMs = nowMs;
      byLease.set(lease, held);
      const hold = byDigest.get(digest) ?? { leases: new Set<Lease>(), isProvisional };
      hold.leases.add(lease);
      byDigest.set(digest, hold);
    },
    settle(digest) {
      const hold = byDigest.get(digest);
      if (hold !== undefined) hold.isProvisional = false;
    },
    isHeld: (digest) => byDigest.has(digest),
    isProvisional: (digest) => byDigest.get(digest)?.isProvisional ?? false,
    isEnded: (lease) => ended.has(lease),
    giveUp(lease) {
      const orphans: Digest[] = [];
      release(lease, (digest, hold) => {
        if (hold.leases.size === 0 && hold.isProvisional) orphans.push(digest);
      });
      ended.add(lease);
      const [oldest] = ended;
      if (ended.size > ENDED_LEASES_MAX && oldest !== undefined) ended.delete(oldest);
      return orphans;
    },
    complete(lease) {
      const settled: Digest[] = [];
      release(lease, (digest, hold) => {
        if (hold.isProvisional) settled.push(digest);
        hold.isProvisional = false;
      });
      return settled;
    },
    forget(digest) {
      for (const lease of byDigest.get(digest)?.leases ?? [])
        byLease.get(lease)?.digests.delete(digest);
      byDigest.delete(digest);
    },
    idleSince: (beforeMs) =>
      [...byLease].filter(([, { usedAtMs }]) => usedAtMs < beforeMs).map(([lease]) => lease),
    get count() {
      return byLease.size;
    },
  };
}
