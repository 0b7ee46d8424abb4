/**
 * One round of the sweep: list what is held, follow all pins to it, judge what they do not reach. A
 * block is condemned by one round and deleted by a later one, so garbage is gone after two.
 *
 * An unknown pin might reach anything: unless every pin of the swarm is known here, and the blocks
 * of each can be listed, a round changes nothing. The work goes a slice at a time, with the store to
 * itself only where something changes, so that reads and writes go on.
 */
import type { Log } from '@shoal/chassis';
import type { Cid, SweepReport } from '@shoal/protocol';
import type { Blockstore } from '../store/blockstore.ts';
import type { DagListings } from '../dags/dag-listing.ts';
import { createDigestMarks } from '../index/digest-marks.ts';
import type { LivePins } from './live-pins.ts';
import { reachFromPins } from './reach.ts';
import { eachSlice } from '../index/slices.ts';

export interface SweepDeps {
  readonly store: Blockstore;
  readonly livePins: LivePins;
  /** Lists DAGs from the nodes held here; it need not remember them. */
  readonly listings: DagListings;
  readonly graceMs: number;
  readonly nowMs: () => number;
  readonly uptimeMs: () => number;
  readonly log: Log;
}

export interface SweepRound {
  readonly report: SweepReport;
  /** Files of which fewer copies of some block are asked for now than when it was marked. */
  readonly loweredRoots: readonly Cid[];
}

export async function sweepRound(
  deps: SweepDeps,
  { isDryRun }: { readonly isDryRun: boolean },
  { signal }: { signal: AbortSignal },
): Promise<SweepRound> {
  const { store, graceMs, nowMs, uptimeMs } = deps;
  const startedAtMs = nowMs();
  const beganAtMs = uptimeMs();
  const tally = { reached: 0, spared: 0, condemned: 0, doomed: 0 };
  const bytes = { condemned: 0, doomed: 0 };
  let hasLowered = false;

  const { blocks, damaged } = store.counts;
  const marks = createDigestMarks(blocks + damaged);
  using _watch = store.watchMarks(marks); // from here on a block that is marked is known as reached
  await eachSlice(store, { signal }, (rows) => {
    for (const [digest, { replicas }] of rows) marks.add(digest, replicas);
  });
  const { pins, lowered, heldUpBy } = await reachFromPins({ ...deps, marks }, { signal });
  if (heldUpBy === undefined)
    await eachSlice(store, { signal }, async (rows) => {
      const judgements = await store.judge(rows, { marks, graceMs, isDryRun });
      for (const { verdict, record, isLowered } of judgements) {
        tally[verdict] += 1;
        hasLowered ||= isLowered;
        if (verdict === 'condemned' || verdict === 'doomed')
          bytes[verdict] += record.isDamaged ? 0 : record.sizeBytes;
      }
    });
  return {
    report: {
      isDryRun,
      startedAtMs,
      durationMs: Math.round(uptimeMs() - beganAtMs),
      pins,
      reachedBlocks: tally.reached,
      leasedBlocks: tally.spared,
      condemnedBlocks: tally.condemned,
      condemnedBytes: bytes.condemned,
      deletedBlocks: tally.doomed,
      deletedBytes: bytes.doomed,
      heldUpBy,
    },
    loweredRoots: hasLowered && !isDryRun ? lowered : [],
  };
}
