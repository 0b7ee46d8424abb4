/**
 * What everything that takes bytes in is made of: the rest of the peer, and the hold on what was stored
 * until a pin holds it.
 */
import { randomUUID } from 'node:crypto';
import type { Log, PeerClient } from '@shoal/chassis';
import { Lease } from '@shoal/protocol';
import type { BufferPool } from './buffer-pool.ts';
import type { ConfirmDeps } from './confirm.ts';
import type { Leases } from './leases.ts';
import type { Metrics } from '../metrics.ts';
import type { ProgressEvents } from './progress.ts';
import type { Replication, Replicator } from './replication.ts';
import type { Room } from './room.ts';

export interface IntakeDeps extends ConfirmDeps {
  readonly peers: PeerClient;
  readonly pool: BufferPool;
  readonly leases: Leases;
  readonly room: Room;
  readonly replicator: Replicator;
  readonly progressEvents: ProgressEvents;
  readonly metrics: Metrics;
  readonly log: Log;
  readonly putsMax: number;
  readonly pinTimeoutMs: number;
  /** Fires when the service stops and can wait no longer. */
  readonly stopping: AbortSignal;
  /** Called when what came in is whole and about to be pinned. */
  readonly onKeeping?: () => void;
}

/** Blocks that were stored and that no pin holds yet: here under a lease, elsewhere under the same. */
export interface Hold {
  readonly lease: Lease;
  readonly replication: Replication;
  /** Something may write under the lease until this settles: the lease does not end before. */
  endAfter(writing: Promise<unknown>): void;
  /** The pin stands: the lease here ends, the blocks stay. Never throws. */
  keep(): Promise<void>;
  /** Nobody waits for copies any more: the leases elsewhere end, the copies stay. */
  close(): void;
  /** Lets the blocks go, here and elsewhere, unless a pin may stand after all. Nobody waits for it. */
  giveUp(options: { mayBePinned: boolean }): void;
}

/** Opens a hold; with the lease of one that is to be gone on with, after a restart say, that one. */
export function openHold(
  { leases, replicator }: Pick<IntakeDeps, 'leases' | 'replicator'>,
  { replicas, lease: known }: { readonly replicas: number; readonly lease?: Lease },
): Hold {
  const lease = known ?? Lease.parse(randomUUID());
  const replication = replicator.open(lease, replicas, { isResumed: known !== undefined });
  const writing: Promise<unknown>[] = [];
  return {
    lease,
    replication,
    endAfter: (promise) => void writing.push(promise),
    keep: () => leases.end(lease, { keep: true }),
    close() {
      void replication.release({ keep: true });
      replication.close();
    },
    giveUp({ mayBePinned }) {
      void Promise.allSettled(writing).then(() => {
        // Better some blocks that nothing reaches than a broken file.
        void leases.end(lease, { keep: mayBePinned });
        if (!mayBePinned) void replication.release({ keep: false });
        replication.close();
      });
    },
  };
}

/**
 * The same hold, but one that ends neither with a pin nor without: what was stored stays until storage
 * ages its lease out, so that the rest may follow.
 */
export const leftToAge = (hold: Hold): Hold => ({
  ...hold,
  keep: async () => {},
  giveUp: () => hold.close(),
});
