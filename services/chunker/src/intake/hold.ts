/**
 * The hold on blocks that were stored and that no pin reaches yet: here under a lease, on the peers that
 * took copies under the same. It ends once, in one of three ways: pinned, given up, or left to age.
 */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { Lease } from '@shoal/protocol';
import type { Leases } from './end-leases.ts';
import type { Replication, Replicator } from './replicate-jobs.ts';

export interface Hold {
  readonly lease: Lease;
  readonly replication: Replication;
  /**
   * From here on neither a pin nor a failure ends the lease here: what was stored stays until storage ages
   * it out, so that the rest may follow.
   */
  leaveToAge(): void;
  /** Nothing was stored under it: there is nothing to end, whatever becomes of the file. */
  needless(): void;
  /** A pin reaches the blocks: the lease here ends, the blocks stay. */
  pinned(): Promise<void>;
  /** After that, when nobody waits for copies any more: the leases elsewhere end, the copies stay. */
  close(): void;
  /**
   * Releases the blocks, here and elsewhere, unless a pin may reach them after all; in the background.
   * @param after What may still write under the lease: it does not end before.
   */
  giveUp(options: { mayBePinned: boolean; after?: Promise<unknown> }): void;
}

/** Opens a hold; with the lease of one that an earlier request or process began, that one is resumed. */
export function openHold(
  { leases, replicator }: { readonly leases: Leases; readonly replicator: Replicator },
  { replicas, lease: known }: { readonly replicas: number; readonly lease?: Lease },
): Hold {
  const lease = known ?? Lease.parse(randomUUID());
  const replication = replicator.open(lease, replicas, { isResumed: known !== undefined });
  let state: 'open' | 'aging' | 'needless' | 'pinned' | 'closed' = 'open';
  const close = () => {
    state = 'closed';
    void replication.release({ keep: true });
    replication.close();
  };
  return {
    lease,
    replication,
    leaveToAge() {
      assert.equal(state, 'open', 'a hold that is left to age has not ended');
      state = 'aging';
    },
    needless() {
      assert.equal(state, 'open', 'a hold that is needless has not ended');
      state = 'needless';
      replication.close();
    },
    async pinned() {
      assert(state !== 'pinned' && state !== 'closed', `a hold is pinned once, it is ${state}`);
      if (state !== 'open') return;
      state = 'pinned';
      await leases.end(lease, { keep: true });
    },
    close() {
      if (state === 'needless') return;
      assert(state === 'pinned' || state === 'aging', `a hold that closes is ${state}`);
      close();
    },
    giveUp({ mayBePinned, after }) {
      if (state === 'needless') return;
      assert(state === 'open' || state === 'aging', `a hold is given up once, it is ${state}`);
      if (state === 'aging') return close();
      state = 'closed';
      void Promise.allSettled([after]).then(() => {
        // Better some blocks that nothing reaches than a broken file.
        void leases.end(lease, { keep: mayBePinned });
        if (!mayBePinned) void replication.release({ keep: false });
        replication.close();
      });
    },
  };
}
