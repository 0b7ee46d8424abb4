/**
 * Which uploads hold which blocks. An upload that fails must leave nothing, but a block that another
 * upload or a pin counts on must stay, however the two overlap.
 *
 * A block is *provisional* while only leases hold it: the last of them to fail takes it along.
 * It stops being provisional, for good, when an upload that held it succeeds, when it is put without
 * a lease, or when a pin marks it. Across a restart only the first lease of a provisional block is
 * remembered (in the index); a block that had two is then treated as not provisional, which may
 * leave a block too many, never one too few.
 */
import assert from 'node:assert';
import { RecentMap } from '@shoal/chassis';
import { type Lease, type Problem, RequestInvalid } from '@shoal/protocol';
import type { Digest } from '../../disk/block-record.ts';
import type { Exclusive } from '../../index/commit-queue.ts';

/** Given-up leases that are remembered, so that a late put does not bring one back. */
const GIVEN_UP_LEASES_MAX = 4096;

/** The uploads that hold one block. */
interface Holds {
  readonly leases: Set<Lease>;
  isProvisional: boolean;
}

export class Leases {
  readonly #byLease = new Map<Lease, { readonly digests: Set<Digest>; usedAtMs: number }>();
  readonly #byDigest = new Map<Digest, Holds>();
  readonly #givenUp = new RecentMap<Lease, true>({ max: GIVEN_UP_LEASES_MAX });

  /** @param restored The leases of provisional blocks, as the index remembers them. */
  constructor(restored: readonly (readonly [Digest, Lease])[], { nowMs }: { nowMs: number }) {
    for (const [digest, lease] of restored)
      this.#hold(lease, digest, { isProvisional: true, nowMs });
  }

  /** Holds a block; `isProvisional` says whether only leases hold it. */
  hold(
    exclusive: Exclusive,
    lease: Lease,
    digest: Digest,
    options: { readonly isProvisional: boolean; readonly nowMs: number },
  ): void {
    exclusive.assertHeld();
    this.#hold(lease, digest, options);
  }

  /** From now on more than leases holds the block. */
  makePermanent(exclusive: Exclusive, digest: Digest): void {
    exclusive.assertHeld();
    const holds = this.#byDigest.get(digest);
    if (holds !== undefined) holds.isProvisional = false;
  }

  isHeld(digest: Digest): boolean {
    return this.#byDigest.has(digest);
  }

  isProvisional(digest: Digest): boolean {
    return this.#byDigest.get(digest)?.isProvisional ?? false;
  }

  /** True when the lease was given up not long ago. */
  isGivenUp(lease: Lease): boolean {
    return this.#givenUp.has(lease);
  }

  /** Ends a lease without success; gives the blocks that nothing holds any more. */
  giveUp(exclusive: Exclusive, lease: Lease): Digest[] {
    exclusive.assertHeld();
    const orphans = this.#release(lease)
      .filter(([, { leases, isProvisional }]) => leases.size === 0 && isProvisional)
      .map(([digest]) => digest);
    this.#givenUp.set(lease, true);
    return orphans;
  }

  /** Ends a lease with success; gives the blocks that were provisional until now. */
  complete(exclusive: Exclusive, lease: Lease): Digest[] {
    exclusive.assertHeld();
    const kept = this.#release(lease).filter(([, { isProvisional }]) => isProvisional);
    for (const [, holds] of kept) holds.isProvisional = false;
    return kept.map(([digest]) => digest);
  }

  /** Leases under which nothing was put since `beforeMs`. */
  idleSince(beforeMs: number): Lease[] {
    return [...this.#byLease]
      .filter(([, { usedAtMs }]) => usedAtMs < beforeMs)
      .map(([lease]) => lease);
  }

  get count(): number {
    return this.#byLease.size;
  }

  #hold(
    lease: Lease,
    digest: Digest,
    { isProvisional, nowMs }: { readonly isProvisional: boolean; readonly nowMs: number },
  ): void {
    const held = this.#byLease.get(lease) ?? { digests: new Set<Digest>(), usedAtMs: nowMs };
    held.digests.add(digest);
    held.usedAtMs = nowMs;
    this.#byLease.set(lease, held);
    const holds = this.#byDigest.get(digest) ?? { leases: new Set<Lease>(), isProvisional };
    holds.leases.add(lease);
    this.#byDigest.set(digest, holds);
  }

  /** Takes a lease away; gives the blocks that it held, with what is left of the holds of each. */
  #release(lease: Lease): (readonly [Digest, Holds])[] {
    const released = [...(this.#byLease.get(lease)?.digests ?? [])].map((digest) => {
      const holds = this.#byDigest.get(digest);
      assert(holds?.leases.delete(lease) === true, 'a lease and its blocks know of each other');
      if (holds.leases.size === 0) this.#byDigest.delete(digest);
      return [digest, holds] as const;
    });
    this.#byLease.delete(lease);
    return released;
  }
}

/** The answer to a put under such a lease. */
export const leaseGivenUp = (lease: Lease): Problem =>
  new RequestInvalid({ reason: `lease ${lease} was given up, nothing can be put under it` });
