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
import { DigestMismatch } from '@shoal/protocol';
import type { IncomingFile } from './request/incoming-file.ts';
import { type IntakeDeps, openHold } from './intake/intake.ts';
import { dropDag, keepDags, type KeptDags, type ReceivedDag } from './intake/keep-dags.ts';
import { createBlockPuts } from './intake/put-blocks.ts';
import { receiveFile } from './intake/receive-file.ts';

/**
 * Takes files in, all or none, and waits for their copies. `signal` fires when the sender leaves.
 * @throws DigestMismatch, StorageFull, ServiceUnavailable; whatever `files` or a body throws.
 */
export async function upload(
  files: AsyncIterable<IncomingFile>,
  deps: IntakeDeps,
  { signal }: { signal: AbortSignal },
): Promise<KeptDags> {
  const received: ReceivedDag[] = [];
  try {
    for await (const file of files) received.push(await receive(file, deps, { signal }));
    signal.throwIfAborted(); // the last moment at which leaving keeps nothing
  } catch (error) {
    for (const dag of received) dropDag(dag, { error }, deps, { signal });
    throw error;
  }
  return keepDags(received, deps, { signal });
}

/** Cuts, stores and names one file. When it throws, what it stored is on its way out again. */
async function receive(
  { name, replicas, copies, expiresAtMs, expectedSha256, attributes, body }: IncomingFile,
  deps: IntakeDeps,
  { signal }: { signal: AbortSignal },
): Promise<ReceivedDag> {
  const hold = openHold(deps, { replicas });
  const failed = new AbortController();
  const either = AbortSignal.any([signal, failed.signal]);
  const progress = deps.progressEvents.open(name);
  const puts = createBlockPuts(
    {
      ...deps,
      onLeaf: (cid) => hold.replication.add(cid),
      onFailure: (error) => failed.abort(error),
    },
    hold.lease,
    { signal: either, stopping: deps.stopping },
  );
  let receivedBytes = 0;
  try {
    const file = await receiveFile(body({ signal: either }), {
      puts,
      attributes,
      onBytes(bytes) {
        receivedBytes += bytes;
        progress.received(bytes);
      },
    });
    const { root, sizeBytes, sha256, blocks } = file;
    if (expectedSha256 !== undefined && expectedSha256 !== sha256)
      throw new DigestMismatch({ expected: expectedSha256, actual: sha256 });
    await puts.finish();
    hold.replication.finish();
    const expiry = expiresAtMs === undefined ? {} : { expiresAtMs };
    const facts = { root, kind: 'file' as const, name, sizeBytes, sha256, blocks, replicas };
    return { draft: { ...facts, ...expiry }, copies, isHere: true, hold, progress };
  } catch (error) {
    hold.endAfter(puts.settle());
    dropDag({ hold, progress, draft: { sizeBytes: receivedBytes } }, { error }, deps, { signal });
    throw error;
  }
}
