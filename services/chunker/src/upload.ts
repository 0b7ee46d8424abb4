/**
 * ① Upload: the whole story of a file on its way in.
 *
 *   body → chunks → blocks in this peer's storage, under a lease → DAG → pin → copies → answer
 *   a small body → its one block at the peers where it belongs → pin → answer
 *
 * Every step overlaps the one before: blocks are stored while the body comes in, and copied to other
 * peers while more are stored. Memory does not depend on the file's size.
 *
 * Nothing is listed before it is whole: the pin comes last, and for a form after its last part. What
 * fails before that ends its lease, and its blocks go, here and elsewhere.
 */
import { DigestMismatch } from '@shoal/protocol';
import { type Intake, type IntakeDeps, openIntake } from './intake/intake.ts';
import { type ConfirmedDags, pinAndConfirm, type ReceivedDag } from './intake/pin-and-confirm.ts';
import { receiveFile } from './intake/receive-file.ts';
import type { IncomingFile } from './request/read-body.ts';

/** Files that are pinned, in their order. */
export interface Uploaded extends ConfirmedDags {
  /** Encoded size of all blocks of each. */
  readonly treeSizesBytes: readonly number[];
}

/** Files of a form whose bytes came in and that are not durable yet. Past it: the next one's wait in the connection. */
const UNDER_WAY_MAX = 64;

interface ReceivedFile extends ReceivedDag {
  readonly intake: Intake;
  readonly treeSizeBytes: number;
}

/**
 * Takes files in, all or none, and waits for their copies. `signal` fires when the sender leaves.
 * @throws DigestMismatch, StorageFull, ServiceUnavailable; whatever `files` or a body throws.
 */
export async function upload(
  files: AsyncIterable<IncomingFile>,
  deps: IntakeDeps,
  { signal }: { signal: AbortSignal },
): Promise<Uploaded> {
  const receiving: Promise<ReceivedFile>[] = [];
  const failures: unknown[] = [];
  let received: ReceivedFile[];
  try {
    for await (const file of files) {
      const { promise: isRead, resolve: onRead } = Promise.withResolvers<void>();
      const next = receive(file, deps, { signal, onRead });
      next.catch((error: unknown) => failures.push(error));
      receiving.push(next);
      await Promise.race([isRead, next]);
      // Of a file before it: the rest of the form is not read for nothing.
      if (failures.length > 0) throw failures[0];
      await receiving.at(-UNDER_WAY_MAX);
    }
    received = await Promise.all(receiving);
    signal.throwIfAborted(); // the last moment at which leaving keeps nothing
  } catch (error) {
    for (const end of await Promise.allSettled(receiving))
      if (end.status === 'fulfilled') end.value.intake.drop(error);
    throw error;
  }
  const treeSizesBytes = received.map(({ treeSizeBytes }) => treeSizeBytes);
  return { ...(await pinAndConfirm(received, deps, { signal })), treeSizesBytes };
}

/** Cuts, stores and names one file; `onRead` is called when the next one's bytes may come. */
async function receive(
  { name, replicas, copies, expiresAtMs, expectedSha256, attributes, body }: IncomingFile,
  deps: IntakeDeps,
  { signal, onRead }: { signal: AbortSignal; onRead: () => void },
): Promise<ReceivedFile> {
  const intake = openIntake(deps, { name, replicas, copiesAtOnce: true }, { signal });
  return intake.fill(async () => {
    const { puts, received: onBytes, hold, progress } = intake;
    const file = await receiveFile(body(intake), { puts, attributes, onBytes, takesSmall: true });
    onRead();
    const { root, sizeBytes, treeSizeBytes, sha256, blocks, only } = file;
    if (expectedSha256 !== undefined && expectedSha256 !== sha256)
      throw new DigestMismatch({ expected: expectedSha256, actual: sha256 });
    const spread =
      only === undefined ? undefined : await deps.smallFiles.spread(only, { replicas, copies });
    if (only !== undefined && spread === undefined) await puts.putNamed([only]);
    if (spread === undefined) await puts.finish();
    else hold.needless();
    hold.replication.finish();
    const expiry = expiresAtMs === undefined ? {} : { expiresAtMs };
    const facts = { root, kind: 'file' as const, name, sizeBytes, sha256, blocks, replicas };
    const draft = { ...facts, ...expiry };
    const from = spread === undefined ? { isHere: true } : { isHere: false, spread };
    return { draft, copies, ...from, hold, progress, intake, treeSizeBytes };
  });
}
