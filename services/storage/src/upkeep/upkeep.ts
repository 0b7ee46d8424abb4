/** Looks after the blocks: scrub, heal, sweep and make-room together, and the report on them. */
import type { Log, PeerClient } from '@shoal/chassis';
import {
  type Cid,
  type ScrubReport,
  SETTLE_ROOTS_MAX,
  type SweepReport,
  transferRoutes,
  type UpkeepReport,
} from '@shoal/protocol';
import type { Blockstore } from '../store/blockstore.ts';
import type { DagListings } from '../dags/dag-listing.ts';
import { type CopyBlocks, startHeal } from './heal.ts';
import type { LivePins } from './live-pins.ts';
import { createMakeRoom, type MakeRoom, type Purges } from './make-room.ts';
import type { Metrics } from '../metrics.ts';
import { openReports } from './reports.ts';
import { startScrub } from './scrub.ts';
import { startSweep } from './sweep.ts';

/** Copying a batch takes as long as its slowest block is looked for. */
const COPY_TIMEOUT_MS = 120_000;

export interface Upkeep extends AsyncDisposable {
  report(): Promise<UpkeepReport>;
  /** Begins a scrub of every block. */
  scrub(): ScrubReport;
  /** Runs a round of the sweep. */
  sweep(options: { readonly isDryRun: boolean }): Promise<SweepReport>;
  /** Makes room at the cost of deleted files, if that helps. */
  readonly makeRoom: MakeRoom;
}

export interface UpkeepDeps {
  readonly store: Blockstore;
  readonly listings: DagListings;
  /** Pins of live files, and of deleted ones that can be brought back. */
  readonly livePins: LivePins;
  /** Pins of live files alone. */
  readonly livePinsAlone: LivePins;
  readonly purges: Purges;
  readonly copyBlocks: CopyBlocks;
  readonly settleFiles: (roots: readonly Cid[], options: { signal: AbortSignal }) => Promise<void>;
  /** File that the reports are kept in. */
  readonly reportsFile: string;
  readonly scrubIntervalMs: number;
  readonly scrubBytesPerSecond: number;
  readonly sweepIntervalMs: number;
  readonly sweepGraceMs: number;
  readonly nowMs: () => number;
  readonly uptimeMs: () => number;
  readonly metrics: Metrics;
  readonly log: Log;
}

export async function startUpkeep(deps: UpkeepDeps): Promise<Upkeep> {
  const { store } = deps;
  await using stack = new AsyncDisposableStack();
  const reports = stack.use(await openReports(deps.reportsFile, deps.log));
  const sweep = stack.use(
    startSweep({
      ...deps,
      graceMs: deps.sweepGraceMs,
      intervalMs: deps.sweepIntervalMs,
      onReport: (lastSweep) => reports.save({ lastSweep }),
    }),
  );
  const scrub = stack.use(
    startScrub({
      ...deps,
      intervalMs: deps.scrubIntervalMs,
      bytesPerSecond: deps.scrubBytesPerSecond,
      onReport: (round, { isWhole }) =>
        reports.save(isWhole ? { round, lastWhole: round } : { round }),
    }),
  );
  stack.use(startHeal(deps));
  const stop = new AbortController();
  stack.defer(() => stop.abort(new Error('stopping')));
  const makeRoom = createMakeRoom(
    {
      ...deps,
      livePins: deps.livePinsAlone,
      sweep: () => sweep.round({ isDryRun: false }),
      graceMs: deps.sweepGraceMs,
    },
    { signal: stop.signal },
  );

  const running = stack.move();
  return {
    async report() {
      const { oldestCheckAtMs, overdueBlocks, damaged } = await store.census();
      const { round, lastWhole, lastSweep } = reports.saved;
      return {
        scrub: {
          intervalMs: deps.scrubIntervalMs,
          bytesPerSecondMax: deps.scrubBytesPerSecond,
          oldestCheckAtMs,
          overdueBlocks,
          round: scrub.round ?? round,
          lastWhole,
        },
        damaged: { blocks: store.counts.damaged, cids: [...damaged] },
        healedBlocks: store.counts.healed,
        sweep: { intervalMs: deps.sweepIntervalMs, graceMs: deps.sweepGraceMs, last: lastSweep },
      };
    },
    scrub: () => scrub.beginWhole(),
    sweep: (options) => sweep.round(options),
    makeRoom,
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

/** Has this peer's own transfer copy blocks from other members. */
export const createCopyBlocks =
  (client: PeerClient): CopyBlocks =>
  async (cids, { signal }) => {
    const target = client.own('transfer');
    const options = { signal, timeoutMs: COPY_TIMEOUT_MS };
    await client.call(target, transferRoutes.copyBlocks, { body: { cids: [...cids] } }, options);
  };

/** Notifies this peer's own transfer that it may drop copies of these files. */
export const createSettleFiles =
  (client: PeerClient): UpkeepDeps['settleFiles'] =>
  async (roots, { signal }) => {
    for (let at = 0; at < roots.length; at += SETTLE_ROOTS_MAX) {
      const body = { roots: roots.slice(at, at + SETTLE_ROOTS_MAX) };
      await client.call(client.own('transfer'), transferRoutes.settleFiles, { body }, { signal });
    }
  };
