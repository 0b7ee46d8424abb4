/**
 * Re-reads and re-hashes every block, for bytes rot without being read.
 *
 * A cursor goes round and round over the digests. On its own the scrub checks the blocks whose last
 * check is older than the interval. A *whole* round, which somebody asks for, checks all blocks
 * regardless: it begins where the cursor stands and ends when the cursor has come round to there, so
 * asking again and again begins rounds anew and yet never keeps any block from its turn.
 *
 * It reads outside the store's lock, into a buffer of its own, at a bounded rate, and lets others go
 * first. What it finds wrong is looked at again with the store to itself before it is set aside.
 */
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { createTokenBucket, type Log, type Loops } from '@shoal/chassis';
import { BLOCK_SIZE_MAX_BYTES, type ScrubReport } from '@shoal/protocol';
import type { BlockRow, CheckState, Digest } from '../disk/block-record.ts';
import type { Blockstore } from '../store/blockstore.ts';
import { isOverdue } from '../store/census.ts';
import type { Metrics } from '../metrics.ts';
import { SLICE_BLOCKS } from '../store/parts.ts';

/** A store that is busy without end is scrubbed all the same, this much later for each block. */
const YIELD_MAX_MS = 200;
const YIELD_STEP_MS = 10;
/** Pause of the cursor between two times round when little is due, as a share of the interval. */
const PAUSE_SHARE = 1 / 10;
const PAUSE_MAX_MS = 60_000;
/** Pause after a block that could not be looked at. */
const FAILURE_PAUSE_MS = 1000;

export interface Scrub extends AsyncDisposable {
  /** Begins a whole round now, in place of the round under way. */
  beginWhole(): ScrubReport;
  /** The round under way; undefined while it has nothing to say. */
  readonly round: ScrubReport | undefined;
}

/** @param onReport Told of every round when it begins and ends; `isWhole` when it checked every block. */
export function startScrub(deps: {
  readonly store: Blockstore;
  readonly intervalMs: number;
  readonly bytesPerSecond: number;
  readonly nowMs: () => number;
  readonly uptimeMs: () => number;
  readonly onReport: (report: ScrubReport, options: { readonly isWhole: boolean }) => void;
  readonly metrics: Metrics;
  readonly loops: Loops;
  readonly log: Log;
}): Scrub {
  const { store, intervalMs, bytesPerSecond, nowMs, uptimeMs, onReport, metrics, loops, log } =
    deps;
  const stop = new AbortController();
  const { signal } = stop;
  const roundPauseMs = Math.min(PAUSE_MAX_MS, intervalMs * PAUSE_SHARE);
  const buffer = Buffer.allocUnsafeSlow(BLOCK_SIZE_MAX_BYTES);
  const bucket = createTokenBucket({ ratePerSecond: bytesPerSecond, nowMs: uptimeMs });
  let cursor: Digest | undefined;
  let round = newRound(nowMs(), cursor, false);
  let wake = new AbortController();
  /** Set by the end of a round, taken before the next step. */
  let restMs = 0;

  const pause = (delayMs: number): Promise<void> =>
    sleep(delayMs, undefined, { signal: AbortSignal.any([signal, wake.signal]) }).catch(() => {});
  const letOthersGo = async (): Promise<void> => {
    for (let waitedMs = 0; store.isBusy && waitedMs < YIELD_MAX_MS; waitedMs += YIELD_STEP_MS)
      await pause(YIELD_STEP_MS);
  };
  const check = async ([digest, { sizeBytes }]: BlockRow): Promise<void> => {
    const mine = round;
    await letOthersGo();
    let state: CheckState;
    try {
      state = await store.checkIn(digest, buffer);
    } catch (err) {
      signal.throwIfAborted();
      mine.isWhole = false;
      log.warn({ err, digest }, 'block not checked'); // too many open files, for one: a later turn may do
      return pause(FAILURE_PAUSE_MS);
    }
    if (state === 'absent') return; // deleted meanwhile
    mine.checkedBlocks += 1;
    mine.checkedBytes += sizeBytes;
    if (state === 'corrupt') mine.damagedBlocks += 1;
    metrics.blocksScrubbed.inc({ outcome: state === 'corrupt' ? 'damaged' : 'sound' });
    metrics.bytesScrubbed.inc(sizeBytes);
    bucket.spend(sizeBytes);
    const delayMs = bucket.delayMs();
    if (delayMs > 0) await sleep(delayMs, undefined, { signal });
    else await nextTurn();
  };
  const isDue = ({ checkedAtMs }: BlockRow[1]): boolean =>
    isOverdue(checkedAtMs, { nowMs: nowMs(), intervalMs });
  /** Checks what is due of the next rows; stops early where a round ends or another one begins. */
  const step = async (beat: () => void): Promise<void> => {
    const mine = round;
    const rows = store.scan(cursor, SLICE_BLOCKS);
    for (const row of rows) {
      const [digest, record] = row;
      beat();
      if (mine.hasWrapped && digest > mine.from) return endRound(mine);
      if (!record.isDamaged) {
        if (mine.isAsked || isDue(record)) await check(row);
        else mine.isWhole = false;
      }
      signal.throwIfAborted();
      if (mine !== round) return; // which is to check this block again
      cursor = digest;
    }
    if (rows.length === SLICE_BLOCKS) return;
    if (mine.hasWrapped) return endRound(mine);
    cursor = undefined;
    mine.hasWrapped = true;
    if (mine.from === '') return endRound(mine);
  };
  const endRound = async (mine: Round): Promise<void> => {
    await store.flushChecks();
    if (mine !== round) return;
    const report = { ...reportOf(mine), endedAtMs: nowMs() };
    const { isWhole } = mine;
    round = newRound(nowMs(), cursor, mine.isAsked && !isWhole); // not every block: once more
    if (report.checkedBlocks > 0 || mine.isAsked) {
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
      round = newRound(nowMs(), cursor, true);
      onReport(reportOf(round), { isWhole: false });
      wake.abort();
      return reportOf(round);
    },
    get round() {
      return round.isAsked || round.checkedBlocks > 0 ? reportOf(round) : undefined;
    },
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running;
    },
  };
}

interface Round {
  readonly startedAtMs: number;
  /** True when it was asked for: then every block is checked. */
  readonly isAsked: boolean;
  /** It began behind this digest, and ends there. */
  readonly from: Digest | '';
  hasWrapped: boolean;
  /** False once a block was passed over. */
  isWhole: boolean;
  checkedBlocks: number;
  checkedBytes: number;
  damagedBlocks: number;
}

const newRound = (startedAtMs: number, cursor: Digest | undefined, isAsked: boolean): Round => ({
  startedAtMs,
  isAsked,
  from: cursor ?? '',
  hasWrapped: false,
  isWhole: true,
  checkedBlocks: 0,
  checkedBytes: 0,
  damagedBlocks: 0,
});

const reportOf = ({
  startedAtMs,
  checkedBlocks,
  checkedBytes,
  damagedBlocks,
}: Round): ScrubReport => ({
  startedAtMs,
  checkedBlocks,
  checkedBytes,
  damagedBlocks,
});
