/**
 * ① Upload: the whole story of a file on its way in.
 *
 *   body → chunks → blocks in this peer's storage, under a lease → DAG → pin → copies → answer
 *
 * Every step overlaps the one before: blocks are stored while the body comes in, and copied to other
 * peers while more are stored. What is in memory does not depend on the file's size.
 *
 * Nothing is listed before it is whole: the pin comes last, and for a form after its last part. What
 * fails before that ends its lease, and its blocks go, here and elsewhere.
 */
import { createHash, randomUUID } from 'node:crypto';
import { chunk, createDagBuilder } from '@shoal/blocks';
import type { Log, PeerClient } from '@shoal/chassis';
import {
  CHUNK_SIZE_BYTES,
  type Cid,
  DigestMismatch,
  Lease,
  Problem,
  Sha256,
  type UploadReply,
} from '@shoal/protocol';
import type { BufferPool } from './buffer-pool.ts';
import { confirm, type ConfirmDeps } from './confirm.ts';
import type { Leases } from './leases.ts';
import type { Metrics, Outcome } from './metrics.ts';
import type { Progress, ProgressEvents } from './progress.ts';
import { createBlockPuts, type Leaf } from './put-blocks.ts';
import { PinDoubtful, putPin } from './put-pin.ts';
import type { Replication, Replicator } from './replication.ts';
import type { Room } from './room.ts';

/** A file that is about to come in. */
export interface IncomingFile {
  readonly name: string;
  /** Copies of each block to keep. */
  readonly replicas: number;
  /** Copies to wait for. */
  readonly copies: number;
  /** When it need not be kept any more, by wall clock; never without. */
  readonly expiresAtMs: number | undefined;
  readonly expectedSha256: Sha256 | undefined;
  /** Its bytes, until `signal` fires. */
  readonly body: (options: { signal: AbortSignal }) => AsyncIterable<Uint8Array>;
}

export interface UploadDeps extends ConfirmDeps {
  readonly peers: PeerClient;
  readonly pool: BufferPool;
  readonly leases: Leases;
  readonly room: Room;
  readonly replicator: Replicator;
  readonly progressEvents: ProgressEvents;
  readonly metrics: Metrics;
  readonly log: Log;
  readonly putsMax: number;
  readonly pinTimeoutMs: number;
  /** Fires when the service stops and can wait no longer. */
  readonly stopping: AbortSignal;
}

/** A file whose blocks are all durable here, and that nobody knows of yet. */
interface ReceivedFile {
  readonly file: IncomingFile;
  readonly lease: Lease;
  readonly root: Cid;
  readonly sizeBytes: number;
  readonly sha256: Sha256;
  readonly blocks: number;
  readonly replication: Replication;
  readonly progress: Progress;
}

/** A file whose pin stands. */
interface PinnedFile extends ReceivedFile {
  readonly replicas: number;
}

export interface UploadResult {
  readonly files: readonly UploadReply[];
  /** Whether every file has the copies that were asked for. */
  readonly isReached: boolean;
}

/**
 * Takes files in, all or none, and waits for their copies. `signal` fires when the sender leaves.
 * @throws DigestMismatch, StorageFull, ServiceUnavailable; whatever `files` or a body throws.
 */
export async function upload(
  files: AsyncIterable<IncomingFile>,
  deps: UploadDeps,
  { signal }: { signal: AbortSignal },
): Promise<UploadResult> {
  const received: ReceivedFile[] = [];
  let pinned = 0;
  try {
    for await (const file of files) received.push(await receiveFile(file, deps, { signal }));
    signal.throwIfAborted(); // the last moment at which leaving keeps nothing
    const kept: PinnedFile[] = [];
    for (const file of received) {
      kept.push({ ...file, replicas: await pin(file, deps) });
      pinned += 1;
    }
    return await confirmAll(kept, deps, { signal });
  } catch (error) {
    for (const [index, file] of received.slice(pinned).entries()) {
      // A pin that may stand must not lose its blocks: better some that nothing reaches than a broken file.
      const keep = index === 0 && error instanceof PinDoubtful;
      giveUp(file, { error, keep }, deps, { signal });
    }
    throw error;
  } finally {
    // Whether or not the sender waited for its copies, a file that is pinned needs no lease elsewhere.
    for (const { replication } of received.slice(0, pinned))
      void replication.release({ keep: true });
    for (const { replication } of received) replication.close();
  }
}

/** Cuts, stores and names one file. When it throws, what it stored is on its way out again. */
async function receiveFile(
  file: IncomingFile,
  deps: UploadDeps,
  { signal }: { signal: AbortSignal },
): Promise<ReceivedFile> {
  const lease = Lease.parse(randomUUID());
  const failed = new AbortController();
  const either = AbortSignal.any([signal, failed.signal]);
  const replication = deps.replicator.open(lease, file.replicas);
  const progress = deps.progressEvents.open(file.name);
  const dag = createDagBuilder();
  const sha256 = createHash('sha256');
  const puts = createBlockPuts({ ...deps, onFailure: (error) => failed.abort(error) }, lease, {
    signal: either,
    stopping: deps.stopping,
  });
  let sizeBytes = 0;

  const addLeaves = async (leaves: readonly Leaf[]) => {
    for (const leaf of leaves) {
      replication.add(leaf.cid);
      await puts.putNodes(dag.addLeaf(leaf));
    }
  };
  try {
    const chunks = chunk(file.body({ signal: either }), {
      sizeBytes: CHUNK_SIZE_BYTES,
      takeBuffer: () => puts.takeBuffer(),
    });
    for await (const cut of chunks) {
      const put = puts.putLeaf(cut); // on its way before we hash: the two then overlap
      sha256.update(cut.bytes);
      sizeBytes += cut.bytes.length;
      progress.received(cut.bytes.length);
      await addLeaves(await put);
    }
    const digest = Sha256.parse(sha256.digest('hex'));
    if (file.expectedSha256 !== undefined && file.expectedSha256 !== digest)
      throw new DigestMismatch({ expected: file.expectedSha256, actual: digest });
    await addLeaves(await puts.finishLeaves());
    replication.finish();
    const { root, nodes, blocks } = dag.finish();
    await puts.putNodes(nodes);
    await puts.finishNodes();
    return { file, lease, root, sizeBytes, sha256: digest, blocks, replication, progress };
  } catch (error) {
    // The answer doesn't wait for the puts in flight, but the lease's end must.
    void puts.settle().then(() => {
      giveUp({ lease, replication, progress, sizeBytes }, { error, keep: false }, deps, { signal });
      replication.close();
    });
    throw error;
  }
}

/**
 * Promises to keep a file: from here on it is listed, and every member hears of it. Answers the
 * replicas that the pin asks for: more than were asked now, when the file was pinned with more before.
 */
async function pin(
  { file, lease, root, sizeBytes, sha256, blocks, progress }: ReceivedFile,
  deps: UploadDeps,
): Promise<number> {
  const { name, expiresAtMs } = file;
  const { peers, log, leases, metrics, pinTimeoutMs, stopping } = deps;
  const { replicas } = await putPin(
    {
      root,
      kind: 'file',
      name,
      sizeBytes,
      sha256,
      blocks,
      replicas: file.replicas,
      ...(expiresAtMs === undefined ? {} : { expiresAtMs }),
    },
    { peers, log, timeoutMs: pinTimeoutMs },
    { signal: stopping },
  );
  await leases.end(lease, { keep: true });
  progress.now('spreading', { cid: root, copies: 1 });
  metrics.files.inc({ outcome: 'kept' });
  metrics.bytes.inc({ outcome: 'kept' }, sizeBytes);
  log.info({ cid: root, sizeBytes, blocks, replicas }, 'file pinned');
  return replicas;
}

async function confirmAll(
  kept: readonly PinnedFile[],
  deps: UploadDeps,
  { signal }: { signal: AbortSignal },
): Promise<UploadResult> {
  const confirmed = await Promise.all(
    kept.map(async ({ file, replicas, root, sizeBytes, sha256, blocks, replication, progress }) => {
      const { name, copies: asked } = file;
      const { copies, state, isReached } = await confirm(
        { root, replicas, copies: asked, replication },
        deps,
        { signal: AbortSignal.any([signal, deps.stopping]) },
      );
      progress.now(isReached ? 'done' : 'spreading', { cid: root, copies });
      const url = `/files/${root}`;
      const facts = { cid: root, kind: 'file' as const, name, sizeBytes, sha256, blocks };
      return { reply: { ...facts, copies, replicas, state, url }, isReached };
    }),
  );
  return {
    files: confirmed.map(({ reply }) => reply),
    isReached: confirmed.every(({ isReached }) => isReached),
  };
}

/** Lets go of what a failed upload stored. Nobody waits for it. */
function giveUp(
  {
    lease,
    replication,
    progress,
    sizeBytes,
  }: Pick<ReceivedFile, 'lease' | 'replication' | 'progress' | 'sizeBytes'>,
  { error, keep }: { readonly error: unknown; readonly keep: boolean },
  { leases, metrics }: UploadDeps,
  { signal }: { signal: AbortSignal },
): void {
  const outcome = outcomeOf(error, signal);
  metrics.files.inc({ outcome });
  metrics.bytes.inc({ outcome }, sizeBytes);
  progress.now('failed');
  void leases.end(lease, { keep });
  if (!keep) void replication.release({ keep: false });
}

function outcomeOf(error: unknown, signal: AbortSignal): Outcome {
  if (signal.aborted && !(signal.reason instanceof Problem)) return 'left';
  return error instanceof Problem && error.status < 500 ? 'refused' : 'failed';
}
