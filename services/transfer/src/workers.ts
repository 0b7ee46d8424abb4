/** The jobs that come by queues: of uploads (replicate, release), and of pins (settle). */
import { startWorker } from '@shoal/chassis/queue';
import type { ReplicateProgress } from '@shoal/protocol';
import { releaseEverywhere, type ReleasedLeases } from './copies/end-leases.ts';
import { replicate, type ReplicateDeps } from './copies/replicate.ts';
import type { SettleLoop } from './settle/settle-loop.ts';

/** Files settled at once from the queue; repairs have a limit of their own anyway. */
const SETTLE_JOBS_MAX = 2;

/** They run until `stack` is disposed. */
export function startWorkers(
  { socket, replicateJobsMax }: { readonly socket: string; readonly replicateJobsMax: number },
  {
    released,
    loop,
    ...deps
  }: ReplicateDeps & { readonly released: ReleasedLeases; readonly loop: SettleLoop },
  stack: AsyncDisposableStack,
  { signal }: { signal: AbortSignal },
): void {
  const { log } = deps;
  stack.use(
    startWorker('replicate', socket, log, replicateJobsMax, async (payload, job) => {
      if (released.wasCompleted(payload.lease) !== undefined) return; // settling has taken over
      // Progress that is lost costs nothing: the upload asks for the file's health as well.
      const onProgress = (progress: ReplicateProgress) =>
        void job
          .updateProgress(progress)
          .catch((err: unknown) => log.debug({ err }, 'progress not reported'));
      await replicate(payload, deps, onProgress, { signal });
    }),
  );
  stack.use(
    startWorker('settle', socket, log, SETTLE_JOBS_MAX, ({ roots }) => loop.settleAll(roots)),
  );
  stack.use(
    startWorker('release', socket, log, 1, (job) => {
      released.note(job.lease, job.keep);
      return releaseEverywhere(job, deps, { signal });
    }),
  );
}
