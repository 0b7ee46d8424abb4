/**
 * Re-reads and re-hashes every block, since bytes rot unnoticed until they are read.
 *
 * A cursor goes round and round over the digests. On its own the scrub checks the blocks whose last
 * check is older than the interval. A *whole* round, which is asked for, checks all blocks
 * regardless: it begins where the cursor is and ends when the cursor has come round to there, so
 * asking again and again begins rounds anew and yet postpones no block's turn.
 *
 * It reads outside the store's lock, into a buffer of its own, at a bounded rate, and lets others go
 * first. A block that it finds wrong is read again, with the store to itself, before it is set aside.
 */
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { createTokenBucket, type Log, type Loops } from '@shoal/chassis';
import { BLOCK_SIZE_MAX_BYTES, type ScrubReport } from '@shoal/protocol';
import type { BlockRow, CheckState, Digest } from '../disk/block-record.ts';
import { SLICE_BLOCKS } from '../index/slices.ts';
import type { Metrics } from '../metrics.ts';
import type { Blockstore } from '../store/blockstore.ts';
import { isOverdue } from '../store/census.ts';
import { ScrubRound } from './scrub-round.ts';

/** Even a store that is always busy is scrubbed, this much later for each block. */
const YIELD_MAX_MS = 200;
const YIELD_STEP_MS = 10;
/**
 * Pause of the cursor between two times round when little is due, as a share of the interval. A time round reads
 * the whole index, which takes a store at rest a tenth of a second for 20,000 blocks.
 */
const PAUSE_SHARE = 1 / 10;
const PAUSE_MAX_MS = 10 * 60_000;
/** Pause after a block that could not be looked at. */
const FAILURE_PAUSE_MS = 1000;

export interface Scrub extends AsyncDisposable {
  /** Begins a whole round now, in place of the round under way. */
  beginWhole(): ScrubReport;
  /** The round under way; undefined while there is nothing to say of it. */
  readonly round: ScrubReport | undefined;
}

interface ScrubDeps {
  readonly store: Blockstore;
  readonly intervalMs: number;
  readonly bytesPerSecond: number;
  readonly nowMs: () => number;
  readonly uptimeMs: () => number;
  /** Called for every round when it begins and ends; `isWhole` when it checked every block. */
  readonly onReport: (report: ScrubReport, options: { readonly isWhole: boolean }) => void;
  readonly metrics: Metrics;
  readonly loops: Loops;
  readonly log: Log;
}

export function startScrub(deps: ScrubDeps): Scrub {
  const { store, intervalMs, nowMs, onReport, loops, log } = deps;
  const stop = new AbortController();
  const { signal } = stop;
  let cursor: Digest | undefined;
  let round = new ScrubRound('due', { cursor, nowMs: nowMs() });
  let wake = new AbortController();
  const roundPauseMs = Math.min(PAUSE_MAX_MS, intervalMs * PAUSE_SHARE);
  /** Set by the end of a round, taken before the next step. */
  let restMs = 0;

  const pause = (delayMs: number): Promise<void> =>
    sleep(delayMs, undefined, { signal: AbortSignal.any([signal, wake.signal]) }).catch(() => {});
  const check = createPacedCheck(deps, { signal, pause });
  const isDue = ({ checkedAtMs }: BlockRow[1]): boolean =>
    isOverdue(checkedAtMs, { nowMs: nowMs(), intervalMs });
  /** Checks what is due of the next rows; stops early where a round ends or another one begins. */
  const step = async (beat: () => void): Promise<void> => {
    const mine = round;
    const rows = store.scan(cursor, SLICE_BLOCKS);
    for (const row of rows) {
      const [digest, record] = row;
      beat();
      if (mine.isOverBefore(digest)) return endRound(mine);
      if (!record.isDamaged) {
        if (mine.kind === 'whole' || isDue(record)) await check(row, mine);
        else mine.passOver();
      }
      signal.throwIfAborted();
      if (mine !== round) return; // the new round checks this block again
      cursor = digest;
    }
    if (rows.length === SLICE_BLOCKS) return;
    cursor = undefined;
    if (mine.endLeg()) return endRound(mine);
  };
  const endRound = async (mine: ScrubRound): Promise<void> => {
    await store.flushChecks();
    if (mine !== round) return;
    const report = { ...mine.report, endedAtMs: nowMs() };
    const { isWhole } = mine;
    const isUnfinished = mine.kind === 'whole' && !isWhole; // not every block: once more
    round = new ScrubRound(isUnfinished ? 'whole' : 'due', { cursor, nowMs: nowMs() });
    if (mine.hasNews) {
      onReport(report, { isWhole });
      const line = report.damagedBlocks > 0 ? 'warn' : 'info';
      log[line](report, isWhole ? 'all blocks scrubbed' : 'blocks scrubbed');
    }
    restMs = roundPauseMs;
  };
  const run = async (): Promise<void> => {
    const steps = loops.track('scrub', () => roundPauseMs);
    while (!signal.aborted) {
      restMs = 0;
      await steps.run(step);
      if (restMs > 0) await pause(restMs);
      if (wake.signal.aborted) wake = new AbortController();
      await nextTurn();
    }
  };
  const running = run().catch((err: unknown) => {
    if (!signal.aborted) log.error({ err }, 'scrub ended');
  });
  return {
    beginWhole() {
      round = new ScrubRound('whole', { cursor, nowMs: nowMs() });
      onReport(round.report, { isWhole: false });
      wake.abort();
      return round.report;
    },
    get round() {
      return round.hasNews ? round.report : undefined;
    },
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running;
    },
  };
}

/** Checks a block once others have gone first, notes what it found, and then waits as the rate asks. */
function createPacedCheck(
  { store, bytesPerSecond, uptimeMs, metrics, log }: ScrubDeps,
  {
    signal,
    pause,
  }: { readonly signal: AbortSignal; readonly pause: (delayMs: number) => Promise<void> },
) {
  const buffer = Buffer.allocUnsafeSlow(BLOCK_SIZE_MAX_BYTES);
  const bucket = createTokenBucket({ ratePerSecond: bytesPerSecond, nowMs: uptimeMs });
  const letOthersGo = async (): Promise<void> => {
    for (let waitedMs = 0; store.isBusy && waitedMs < YIELD_MAX_MS; waitedMs += YIELD_STEP_MS)
      await pause(YIELD_STEP_MS);
  };
  return async ([digest, { sizeBytes }]: BlockRow, round: ScrubRound): Promise<void> => {
    await letOthersGo();
    let state: CheckState;
    try {
      state = await store.checkIn(digest, buffer);
    } catch (err) {
      signal.throwIfAborted();
      round.passOver();
      log.warn({ err, digest }, 'block not checked'); // too many open files, say: a later turn may do
      return pause(FAILURE_PAUSE_MS);
    }
    round.note(state, sizeBytes);
    if (state === 'absent') return;
    metrics.blocksScrubbed.inc({ outcome: state === 'corrupt' ? 'damaged' : 'sound' });
    metrics.bytesScrubbed.inc(sizeBytes);
    bucket.spend(sizeBytes);
    const delayMs = bucket.delayMs();
    if (delayMs > 0) await sleep(delayMs, undefined, { signal });
    else await nextTurn();
  };
}
