/**
 * Replaces damaged blocks: has this peer's transfer copy them from other members. They are put here
 * again under their names, verified, and are held again from then on. A block that no member can give
 * is asked for again with exponential back-off, until one can or the sweep deletes its record.
 */
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { cidOf } from '@shoal/blocks';
import type { Log } from '@shoal/chassis';
import { type Cid, CIDS_PER_BATCH_MAX } from '@shoal/protocol';
import type { Blockstore } from '../store/blockstore.ts';
import { eachSlice } from '../index/slices.ts';

const RETRY_DELAY_MIN_MS = 1000;
const RETRY_DELAY_MAX_MS = 60_000;

/** Copies blocks from other members into this storage. */
export type CopyBlocks = (cids: readonly Cid[], options: { signal: AbortSignal }) => Promise<void>;

export function startHeal(deps: {
  readonly store: Blockstore;
  readonly copyBlocks: CopyBlocks;
  readonly log: Log;
}): AsyncDisposable {
  const { store, copyBlocks, log } = deps;
  const stop = new AbortController();
  const { signal } = stop;
  let wake = new AbortController();

  store.onDamaged(() => wake.abort());
  const copyBatch = async (cids: readonly Cid[]): Promise<void> => {
    try {
      await copyBlocks(cids, { signal });
    } catch (err) {
      signal.throwIfAborted();
      log.warn({ err, blocks: cids.length }, 'damaged blocks not replaced yet');
    }
  };
  /** One try for every damaged block; answers how many were replaced. */
  const pass = async (): Promise<number> => {
    const healedBefore = store.counts.healed;
    let batch: Cid[] = [];
    await eachSlice(store, { signal }, async (rows) => {
      for (const [digest, { isDamaged, isNode, condemnedAtMs }] of rows) {
        if (!isDamaged || condemnedAtMs > 0) continue; // a condemned one is not needed
        batch.push(cidOf(isNode ? 'dag-pb' : 'raw', Buffer.from(digest, 'hex')));
        if (batch.length < CIDS_PER_BATCH_MAX) continue;
        await copyBatch(batch);
        batch = [];
      }
    });
    if (batch.length > 0) await copyBatch(batch);
    return store.counts.healed - healedBefore;
  };
  const rest = async (delayMs: number): Promise<void> => {
    const end = AbortSignal.any([wake.signal, signal]);
    if (end.aborted) return;
    if (store.counts.damaged === 0) await once(end, 'abort');
    else await sleep(delayMs, undefined, { signal: end }).catch(() => {}); // woken
  };
  const run = async (): Promise<void> => {
    for (let delayMs = RETRY_DELAY_MIN_MS; !signal.aborted;) {
      if (wake.signal.aborted) {
        wake = new AbortController();
        delayMs = RETRY_DELAY_MIN_MS;
      }
      const healedBlocks = store.counts.damaged > 0 ? await pass() : 0;
      if (healedBlocks > 0) log.info({ blocks: healedBlocks }, 'damaged blocks replaced');
      await rest(delayMs);
      delayMs = healedBlocks > 0 ? RETRY_DELAY_MIN_MS : Math.min(RETRY_DELAY_MAX_MS, 2 * delayMs);
    }
  };
  const running = run().catch((err: unknown) => {
    if (!signal.aborted) log.error({ err }, 'healing ended');
  });
  return {
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running;
    },
  };
}
