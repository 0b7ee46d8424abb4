/**
 * The second half of every intake: from blocks that are durable here to a promise of the whole swarm.
 *
 *   pin → copies → answer
 */
import { type PinDraft, type UploadReply } from '@shoal/protocol';
import { confirm, type Confirmed, firstCopies } from './confirm.ts';
import { countDropped, type Held, type IntakeDeps } from './intake.ts';
import type { Hold } from './hold.ts';
import { PinDoubtful, putPin } from './put-pin.ts';

/** A DAG that came in, and whose pin nobody knows of yet. Several may share one hold. */
export interface ReceivedDag extends Held {
  readonly draft: PinDraft;
  /** Copies to wait for. */
  readonly copies: number;
  /** Whether its blocks are all durable here, under its hold; else the swarm keeps it already. */
  readonly isHere: boolean;
  /** Of a small file: copies that peers made durable and proved. */
  readonly spread?: number;
}

/** The same, once it is pinned. */
export interface PinnedDag extends ReceivedDag {
  /** As its pin has it: more than was asked now, when it was pinned with more before. */
  readonly replicas: number;
}

export interface ConfirmedDags {
  readonly files: readonly UploadReply[];
  /** Whether every one has the copies that were asked for. */
  readonly isReached: boolean;
}

/**
 * Pins the DAGs, all at once, and waits for their copies. `signal` ends the waiting, not the pins.
 * @throws what `pinDag` throws: then those without a pin are dropped.
 */
export async function pinAndConfirm(
  received: readonly ReceivedDag[],
  deps: IntakeDeps,
  { signal }: { signal: AbortSignal },
): Promise<ConfirmedDags> {
  deps.onPinning?.();
  const ends = await Promise.allSettled(received.map((dag) => pinDag(dag, deps)));
  const pinned = ends.flatMap((end) => (end.status === 'fulfilled' ? [end.value] : []));
  const failed = received.flatMap((dag, at) => {
    const end = ends[at];
    return end?.status === 'rejected' ? [{ dag, error: end.reason as unknown }] : [];
  });
  const pinnedHolds = new Set(pinned.map(({ hold }) => hold));
  drop(failed, pinnedHolds, deps, { signal });
  try {
    await Promise.all([...pinnedHolds].map((hold) => hold.pinned()));
    if (failed[0] !== undefined) throw failed[0].error;
    const confirmed = await Promise.all(pinned.map((dag) => confirmDag(dag, deps, { signal })));
    return {
      files: confirmed.map(({ reply }) => reply),
      isReached: confirmed.every(({ isReached }) => isReached),
    };
  } finally {
    // Whether or not the sender waited for its copies, what is pinned needs no lease elsewhere.
    for (const hold of pinnedHolds) hold.close();
  }
}

/** Lets go of what was not pinned; what shares its hold with something pinned goes with the next sweep. */
function drop(
  failed: readonly { readonly dag: ReceivedDag; readonly error: unknown }[],
  pinnedHolds: ReadonlySet<Hold>,
  deps: IntakeDeps,
  { signal }: { signal: AbortSignal },
): void {
  for (const { dag, error } of failed)
    countDropped({ ...dag, sizeBytes: dag.draft.sizeBytes }, error, deps, { signal });
  const doubtful = failed.filter(({ error }) => error instanceof PinDoubtful);
  const doubtfulHolds = new Set(doubtful.map(({ dag }) => dag.hold));
  for (const hold of new Set(failed.map(({ dag }) => dag.hold)))
    if (!pinnedHolds.has(hold)) hold.giveUp({ mayBePinned: doubtfulHolds.has(hold) });
}

/** Promises to keep a DAG: from here on it is listed, and every member hears of it. @throws as `putPin`; QuotaExceeded */
export async function pinDag(dag: ReceivedDag, deps: IntakeDeps): Promise<PinnedDag> {
  const { draft, progress, isHere, spread } = dag;
  const { pins, log, metrics, pinTimeoutMs, quota, stopping, token } = deps;
  await quota.check(token, draft.sizeBytes, { signal: stopping, root: draft.root });
  const { replicas } = await putPin(
    token === undefined ? draft : { ...draft, token: token.id },
    { pins, log, timeoutMs: pinTimeoutMs },
    { signal: stopping },
  );
  const { root: cid, kind, sizeBytes, blocks } = draft;
  progress.now('spreading', { cid, copies: spread ?? (isHere ? 1 : 0) });
  metrics.files.inc({ outcome: 'kept' });
  metrics.bytes.inc({ outcome: 'kept' }, sizeBytes);
  log.info({ cid, kind, sizeBytes, blocks, replicas }, 'file pinned');
  return { ...dag, replicas };
}

/** Waits for the copies of a pinned DAG, until `signal` fires or the service stops. */
export async function confirmDag(
  dag: PinnedDag,
  deps: IntakeDeps,
  { signal }: { signal: AbortSignal },
): Promise<{ readonly reply: UploadReply; readonly isReached: boolean }> {
  const { draft, replicas, copies, isHere, spread, hold, progress } = dag;
  const { root } = draft;
  const confirmed = await confirm(
    { root, replicas, copies, isHere, spread, replication: hold.replication },
    deps,
    { signal: AbortSignal.any([signal, deps.stopping]) },
  );
  const { isReached, copies: reached } = confirmed;
  progress.now(isReached ? 'done' : 'spreading', { cid: draft.root, copies: reached });
  return { reply: replyOf(dag, confirmed), isReached };
}

/** The reply for a pinned DAG whose blocks are all here, before any member was asked. */
export async function replyBeforeCopies(
  dag: PinnedDag,
  { members, stopping }: Pick<IntakeDeps, 'members' | 'stopping'>,
): Promise<UploadReply> {
  const placeable = await members.placeableCount({ signal: stopping });
  return replyOf(dag, firstCopies(1, dag.replicas, placeable));
}

function replyOf(
  { draft, replicas }: PinnedDag,
  { copies, state, causes }: Pick<Confirmed, 'copies' | 'state' | 'causes'>,
): UploadReply {
  const { root: cid, kind, name, sizeBytes, sha256, blocks } = draft;
  const url =
    kind === 'file' ? `/files/${cid}` : kind === 'directory' ? `/ipfs/${cid}/` : `/ipfs/${cid}`;
  const facts = { cid, kind, name, sizeBytes, sha256, blocks, copies, replicas };
  return { ...facts, state, causes: [...causes], url };
}
