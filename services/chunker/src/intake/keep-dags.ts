/**
 * The second half of everything that is taken in: from blocks that are durable here to a promise of
 * the whole swarm. pin → copies → answer
 */
import { type PinDraft, Problem, type UploadReply } from '@shoal/protocol';
import { confirm } from './confirm.ts';
import type { Hold, IntakeDeps } from './intake.ts';
import type { Outcome } from '../metrics.ts';
import type { Progress } from './progress.ts';
import { PinDoubtful, putPin } from './put-pin.ts';

/** A DAG that is to be kept, and whose pin nobody knows of yet. */
export interface ReceivedDag {
  readonly draft: PinDraft;
  /** Copies to wait for. */
  readonly copies: number;
  /** Whether its blocks are all durable here, under its hold; else the swarm keeps it already. */
  readonly isHere: boolean;
  /** Several DAGs may share one. */
  readonly hold: Hold;
  readonly progress: Progress;
}

export interface KeptDags {
  readonly files: readonly UploadReply[];
  /** Whether every one has the copies that were asked for. */
  readonly isReached: boolean;
}

/**
 * Pins the DAGs and waits for their copies. `signal` ends the waiting, not the pins.
 * @throws what `putPin` throws: then those without a pin are dropped.
 */
export async function keepDags(
  received: readonly ReceivedDag[],
  deps: IntakeDeps,
  { signal }: { signal: AbortSignal },
): Promise<KeptDags> {
  deps.onKeeping?.();
  const pinned: ReceivedDag[] = [];
  const pinnedHolds = new Set<Hold>();
  try {
    for (const dag of received) {
      pinned.push(await pin(dag, deps));
      pinnedHolds.add(dag.hold);
    }
  } catch (error) {
    for (const [index, dag] of received.slice(pinned.length).entries()) {
      const mayBePinned = index === 0 && error instanceof PinDoubtful;
      if (pinnedHolds.has(dag.hold)) countDropped(dag, error, deps, { signal });
      else dropDag(dag, { error, mayBePinned }, deps, { signal });
    }
    for (const hold of pinnedHolds) hold.close();
    throw error;
  } finally {
    await Promise.all([...pinnedHolds].map((hold) => hold.keep()));
  }
  try {
    return await confirmAll(pinned, deps, { signal });
  } finally {
    // Whether or not the sender waited for its copies, what is pinned needs no lease elsewhere.
    for (const hold of pinnedHolds) hold.close();
  }
}

/** Lets go of a DAG that will not be pinned. Nobody waits for it. */
export function dropDag(
  dag: Pick<ReceivedDag, 'hold' | 'progress'> & { readonly draft: Pick<PinDraft, 'sizeBytes'> },
  { error, mayBePinned = false }: { readonly error: unknown; readonly mayBePinned?: boolean },
  deps: Pick<IntakeDeps, 'metrics'>,
  { signal }: { signal: AbortSignal },
): void {
  countDropped(dag, error, deps, { signal });
  dag.hold.giveUp({ mayBePinned });
}

/**
 * Promises to keep a DAG: from here on it is listed, and every member hears of it. Answers it with the
 * replicas that its pin asks for: more than were asked now, when it was pinned with more before.
 */
async function pin(dag: ReceivedDag, deps: IntakeDeps): Promise<ReceivedDag> {
  const { draft, progress } = dag;
  const { peers, log, metrics, pinTimeoutMs, stopping } = deps;
  const { replicas } = await putPin(
    draft,
    { peers, log, timeoutMs: pinTimeoutMs },
    { signal: stopping },
  );
  const { root: cid, kind, sizeBytes, blocks } = draft;
  progress.now('spreading', { cid, copies: dag.isHere ? 1 : 0 });
  metrics.files.inc({ outcome: 'kept' });
  metrics.bytes.inc({ outcome: 'kept' }, sizeBytes);
  log.info({ cid, kind, sizeBytes, blocks, replicas }, 'file pinned');
  return { ...dag, draft: { ...draft, replicas } };
}

async function confirmAll(
  pinned: readonly ReceivedDag[],
  deps: IntakeDeps,
  { signal }: { signal: AbortSignal },
): Promise<KeptDags> {
  const confirmed = await Promise.all(
    pinned.map(async ({ draft, copies: asked, isHere, hold: { replication }, progress }) => {
      const { root, replicas } = draft;
      const { copies, state, causes, isReached } = await confirm(
        { root, replicas, copies: asked, isHere, replication },
        deps,
        { signal: AbortSignal.any([signal, deps.stopping]) },
      );
      progress.now(isReached ? 'done' : 'spreading', { cid: root, copies });
      return { reply: replyOf(draft, { copies, state, causes: [...causes] }), isReached };
    }),
  );
  return {
    files: confirmed.map(({ reply }) => reply),
    isReached: confirmed.every(({ isReached }) => isReached),
  };
}

function replyOf(
  draft: PinDraft,
  { copies, state, causes }: Pick<UploadReply, 'copies' | 'state' | 'causes'>,
) {
  const { root: cid, kind, name, sizeBytes, sha256, blocks, replicas } = draft;
  const url =
    kind === 'file' ? `/files/${cid}` : kind === 'directory' ? `/ipfs/${cid}/` : `/ipfs/${cid}`;
  return { cid, kind, name, sizeBytes, sha256, blocks, copies, replicas, state, causes, url };
}

function countDropped(
  {
    draft: { sizeBytes },
    progress,
  }: Pick<ReceivedDag, 'progress'> & { readonly draft: Pick<PinDraft, 'sizeBytes'> },
  error: unknown,
  { metrics }: Pick<IntakeDeps, 'metrics'>,
  { signal }: { signal: AbortSignal },
): void {
  const outcome = outcomeOf(error, signal);
  metrics.files.inc({ outcome });
  metrics.bytes.inc({ outcome }, sizeBytes);
  progress.now('failed');
}

function outcomeOf(error: unknown, signal: AbortSignal): Outcome {
  if (signal.aborted && !(signal.reason instanceof Problem)) return 'left';
  return error instanceof Problem && error.status < 500 ? 'refused' : 'failed';
}
