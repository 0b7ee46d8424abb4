/** When the sweep runs: at its interval, and when asked; one round at a time. */
import type { Log } from '@shoal/chassis';
import { type Cid, ServiceUnavailable, type SweepReport } from '@shoal/protocol';
import type { Metrics } from '../metrics.ts';
import { type SweepDeps, sweepRound } from './sweep-round.ts';

export interface Sweep extends AsyncDisposable {
  /**
   * A round that begins from now on, when the one under way is over. Callers that ask before it
   * began share it.
   * @throws ServiceUnavailable when the service stops meanwhile.
   */
  round(options: { readonly isDryRun: boolean }): Promise<SweepReport>;
}

export function startSweep(
  deps: SweepDeps & {
    /** Notifies transfer that fewer copies of these files are asked for than before. */
    readonly settleFiles: (
      roots: readonly Cid[],
      options: { signal: AbortSignal },
    ) => Promise<void>;
    readonly onReport: (report: SweepReport) => void;
    readonly intervalMs: number;
    readonly metrics: Metrics;
    readonly log: Log;
  },
): Sweep {
  const { metrics, log, intervalMs } = deps;
  const stop = new AbortController();
  const { signal } = stop;
  const waiting = new Map<boolean, Promise<SweepReport>>();
  let last: Promise<unknown> = Promise.resolve();

  const run = async (isDryRun: boolean): Promise<SweepReport> => {
    if (signal.aborted) throw new ServiceUnavailable({ service: 'storage' });
    const endTimer = metrics.sweepDuration.startTimer();
    try {
      const { report, loweredRoots } = await sweepRound(deps, { isDryRun }, { signal });
      const isHeldUp = report.heldUpBy !== undefined;
      metrics.sweepRounds.inc({ outcome: isHeldUp ? 'held-up' : isDryRun ? 'dry' : 'done' });
      if (isHeldUp) log.warn(report, 'sweep held up');
      else if (report.condemnedBlocks + report.deletedBlocks > 0) log.info(report, 'swept');
      if (!isDryRun) deps.onReport(report);
      await notifyTransfer(loweredRoots);
      return report;
    } catch (error) {
      if (signal.aborted) throw new ServiceUnavailable({ service: 'storage' }, { cause: error });
      metrics.sweepRounds.inc({ outcome: 'failed' });
      throw error;
    } finally {
      endTimer();
    }
  };
  const notifyTransfer = async (roots: readonly Cid[]): Promise<void> => {
    try {
      if (roots.length > 0) await deps.settleFiles(roots, { signal });
    } catch (err) {
      if (!signal.aborted) log.warn({ err }, 'transfer not notified: it looks at the files later');
    }
  };
  const round: Sweep['round'] = ({ isDryRun }) => {
    const shared = waiting.get(isDryRun);
    if (shared !== undefined) return shared;
    const turn = last.then(() => {
      waiting.delete(isDryRun);
      return run(isDryRun);
    });
    waiting.set(isDryRun, turn);
    last = turn.catch(() => {}); // its callers get the error
    return turn;
  };

  const timer = setInterval(() => {
    round({ isDryRun: false }).catch((err: unknown) => {
      if (!signal.aborted) log.error({ err }, 'sweep failed');
    });
  }, intervalMs).unref();
  return {
    round,
    async [Symbol.asyncDispose]() {
      clearInterval(timer);
      stop.abort();
      await last;
    },
  };
}
