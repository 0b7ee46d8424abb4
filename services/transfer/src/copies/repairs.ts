/**
 * Copies in the background: what settling misses here, and what replaces a damaged
 * block. They have a few places and a bandwidth of their own, apart from offers and downloads, so
 * that repair and users don't starve each other.
 *
 * They are stored without a lease: storage then lets them use the room that it reserves for repair.
 */
import { createLimit, type Log, type PeerClient, type TokenBucket } from '@shoal/chassis';
import { type Cid, StorageFull } from '@shoal/protocol';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Incoming } from './incoming.ts';
import type { Metrics } from '../metrics.ts';
import { type ReceivedBlock, storeBlock } from '../fetch/receive-block.ts';

/**
 * The outcome. Two sorts of blocks are neither copied nor failed: those that another task copies at
 * this moment, or copied since they were looked for; and after `isFull` those that were still to come.
 */
export interface Repaired {
  readonly copied: readonly Cid[];
  readonly failedBlocks: number;
  readonly isFull: boolean;
}

export interface Repairs {
  /**
   * Copies blocks into our own storage, in this order, some side by side.
   * @param lookedAtMs When our storage was asked what is missing, by `performance.now()`.
   * @param isYielding They take room from nothing else: they are copies of a deleted file.
   */
  copy<Want extends { readonly cid: Cid }>(
    wants: readonly Want[],
    fetch: (want: Want, options: { signal: AbortSignal }) => Promise<ReceivedBlock>,
    options: { lookedAtMs: number; isYielding?: boolean; signal: AbortSignal },
  ): Promise<Repaired>;
}

/** @param blocksMax Blocks under way over all callers. */
export function createRepairs(deps: {
  readonly client: PeerClient;
  readonly incoming: Incoming;
  readonly bucket: TokenBucket;
  readonly blocksMax: number;
  readonly metrics: Metrics;
  readonly log: Log;
}): Repairs {
  const { client, incoming, bucket, blocksMax, metrics, log } = deps;
  const limit = createLimit(blocksMax);
  let wasFull = false;

  /** Waits for a place and for the bandwidth, then runs. */
  const inTurn = <T>(task: () => Promise<T>, { signal }: { signal: AbortSignal }): Promise<T> => {
    metrics.repairsWaiting.inc();
    return limit(async () => {
      try {
        for (let delayMs = bucket.delayMs(); delayMs > 0; delayMs = bucket.delayMs())
          await sleep(delayMs, undefined, { signal });
        signal.throwIfAborted();
      } finally {
        metrics.repairsWaiting.dec();
      }
      return task();
    });
  };
  const noteFull = (isFull: boolean, err?: unknown): void => {
    if (isFull && !wasFull) log.warn({ err }, 'no room for repairs; they are tried again later');
    if (!isFull && wasFull) log.info('there is room for repairs again');
    wasFull = isFull;
  };

  return {
    async copy(wants, fetch, options) {
      const { lookedAtMs, isYielding = false, signal } = options;
      const copied: Cid[] = [];
      let failedBlocks = 0;
      let isFull = false;
      const copyOne = async (want: (typeof wants)[number]): Promise<void> => {
        if (isFull) return; // a thousand refusals would say no more than the first
        if (incoming.isComing(want.cid, lookedAtMs)) return;
        using claim = incoming.claim(want.cid);
        const block = await fetch(want, { signal });
        const sizeBytes = block.bytes.length;
        bucket.spend(sizeBytes);
        await storeBlock(client, want.cid, block, undefined, { signal, isYielding });
        claim.arrived();
        copied.push(want.cid);
        metrics.blocksReplicated.inc({ direction: 'in', outcome: 'copied' });
        metrics.repairs.inc({ outcome: 'copied' });
        metrics.repairBytes.inc(sizeBytes);
        noteFull(false);
      };
      const rest = wants.values(); // shared: each worker takes the next one
      const work = async (): Promise<void> => {
        for (const want of rest)
          try {
            await inTurn(() => copyOne(want), { signal });
          } catch (err) {
            signal.throwIfAborted();
            failedBlocks += 1;
            metrics.blocksReplicated.inc({ direction: 'in', outcome: 'failed' });
            const isRefused = err instanceof StorageFull;
            metrics.repairs.inc({ outcome: isRefused ? 'full' : 'failed' });
            isFull ||= isRefused;
            if (isRefused && isYielding) continue; // there may be room for others
            if (isRefused) noteFull(true, err);
            else log.warn({ err, cid: want.cid }, 'block not copied');
          }
      };
      await Promise.all(Array.from({ length: Math.min(blocksMax, wants.length) }, work));
      return { copied, failedBlocks, isFull };
    },
  };
}
