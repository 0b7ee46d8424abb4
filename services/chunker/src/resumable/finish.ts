/**
 * The end of a resumable upload: the last chunk → all chunks are there → sha-256 → DAG → pin → copies.
 * Any step may fail and is tried again by the next request: until the pin stands nothing is given up, and
 * the same pin twice is one pin.
 */
import { createDagBuilder, hashBlock } from '@shoal/blocks';
import {
  CHUNK_SIZE_BYTES,
  DigestMismatch,
  type PinDraft,
  UploadOffsetWrong,
  type UploadReply,
} from '@shoal/protocol';
import { confirm, firstCopy } from '../intake/confirm.ts';
import type { IntakeDeps } from '../intake/intake.ts';
import { type BlockPuts, createBlockPuts } from '../intake/put-blocks.ts';
import { putPin } from '../intake/put-pin.ts';
import { createLeafReader, holdLeaves, LeafLost } from './blocks.ts';
import { readTail, removeTail } from './tail.ts';
import { createLeaves } from './leaves.ts';
import { cutTo, holdOf, offsetOf, progressOf, type ResumableUpload } from './upload-state.ts';

/** A file that is kept, and a promise that tells once more when its copies are there, or late. */
export interface Finished {
  readonly reply: UploadReply;
  readonly settled: Promise<UploadReply>;
}

/**
 * Keeps the file of an upload whose bytes are all here.
 * @throws UploadOffsetWrong when blocks were lost: the upload goes on from there. DigestMismatch,
 * StorageFull, ServiceUnavailable, PinDoubtful.
 */
export async function finishUpload(upload: ResumableUpload, deps: IntakeDeps): Promise<Finished> {
  const { peers, log, pinTimeoutMs, stopping, metrics } = deps;
  const hold = holdOf(upload, deps);
  const progress = progressOf(upload, deps);
  const draft = await makeFile(upload, deps);
  await upload.log.add({ isPinning: true });
  upload.isPinning = true;
  const { replicas } = await putPin(
    draft,
    { peers, log, timeoutMs: pinTimeoutMs },
    { signal: stopping },
  );
  const { root: cid, kind, name, sizeBytes, sha256, blocks } = draft;
  const first = firstCopy(replicas, await deps.members.placeableCount({ signal: stopping }));
  const url = `/files/${cid}`;
  const facts = { cid, kind, name, sizeBytes, sha256, blocks, replicas, url } as const;
  const reply: UploadReply = { ...facts, ...first, causes: [...first.causes] };
  upload.reply = reply;
  // The pin stands. Without this line a restart pins once more, and finds the same.
  await upload.log.add({ reply }).catch((err: unknown) => {
    log.warn({ err, upload: upload.id }, 'kept upload not written down');
  });
  upload.leaves = createLeaves(); // 32 bytes for each MiB that nobody needs any more
  await hold.keep();
  await removeTail(upload.tailPath);
  progress.now('spreading', { cid, copies: 1 });
  metrics.files.inc({ outcome: 'kept' });
  metrics.bytes.inc({ outcome: 'kept' }, sizeBytes);
  log.info({ cid, sizeBytes, blocks, replicas }, 'resumable upload pinned');

  const settle = async (): Promise<UploadReply> => {
    const { copies: wanted } = upload.log.head.wishes;
    const { replication } = hold;
    try {
      const { copies, state, causes, isReached } = await confirm(
        { root: cid, replicas, copies: wanted, isHere: true, replication },
        deps,
        {
          signal: stopping,
        },
      );
      progress.now(isReached ? 'done' : 'spreading', { cid, copies });
      upload.reply = { ...reply, copies, state, causes: [...causes] };
      await upload.log.add({ reply: upload.reply });
    } catch (err) {
      log.debug({ err, cid }, 'copies not confirmed'); // stopping, or a full disk: the file is kept
    } finally {
      hold.close();
    }
    return upload.reply ?? reply;
  };
  return { reply, settled: settle() };
}

/** Makes the file's blocks whole. Answers what is to be pinned. */
async function makeFile(upload: ResumableUpload, deps: IntakeDeps): Promise<PinDraft> {
  const { peers, stopping } = deps;
  const hold = holdOf(upload, deps);
  const puts = createBlockPuts(
    { ...deps, onLeaf: (cid) => hold.replication.add(cid), onFailure: () => {} },
    hold.lease,
    { signal: stopping, stopping },
  );
  try {
    await storeLast(upload, puts);
    await holdLeaves(upload, peers, { signal: stopping });
    const read = createLeafReader(upload, peers, { signal: stopping });
    await upload.hash.catchUp(() => upload.leaves.count, read);
    const sha256 = upload.hash.digest();
    const { name, replicas, expiresAtMs, sha256: expected } = upload.log.head.wishes;
    if (expected !== undefined && expected !== sha256)
      throw new DigestMismatch({ expected, actual: sha256 });
    for (let index = 0; index < upload.restoredLeaves; index += 1)
      hold.replication.add(upload.leaves.at(index));
    upload.restoredLeaves = 0;
    hold.replication.finish();
    const { root, blocks, sizeBytes } = await storeNodes(upload, puts);
    const expiry = expiresAtMs === undefined ? {} : { expiresAtMs };
    return {
      root,
      kind: 'file',
      name: name ?? root,
      sizeBytes,
      sha256,
      blocks,
      replicas,
      ...expiry,
    };
  } catch (error) {
    if (!(error instanceof LeafLost)) throw error;
    deps.metrics.resumableStepsBack.inc();
    await cutTo(upload, error.index);
    throw new UploadOffsetWrong({ id: upload.id, offsetBytes: offsetOf(upload) }, { cause: error });
  } finally {
    await puts.settle();
  }
}

/** The tail becomes the last chunk; an empty file has an empty one. */
async function storeLast(upload: ResumableUpload, puts: BlockPuts): Promise<void> {
  const { leaves, log, hash } = upload;
  const tail = await readTail(upload.tailPath);
  const isTail = tail?.afterLeaves === leaves.count;
  if (!isTail && (leaves.count > 0 || upload.sizeBytes !== 0)) return;
  const bytes = isTail ? tail.bytes : new Uint8Array();
  const cid = hashBlock('raw', bytes);
  await puts.putNamed([{ cid, bytes }]);
  await puts.finish();
  await log.addLeaves([cid]);
  await log.sync();
  hash.add(leaves.count, bytes);
  leaves.push(cid);
}

async function storeNodes({ leaves, sizeBytes = 0 }: ResumableUpload, puts: BlockPuts) {
  const dag = createDagBuilder();
  for (let index = 0; index < leaves.count; index += 1) {
    const leftBytes = sizeBytes - index * CHUNK_SIZE_BYTES;
    const leaf = { cid: leaves.at(index), sizeBytes: Math.min(leftBytes, CHUNK_SIZE_BYTES) };
    const nodes = dag.addLeaf(leaf);
    if (nodes.length > 0) await puts.putNamed(nodes);
  }
  const { nodes, ...made } = dag.finish();
  await puts.putNamed(nodes);
  await puts.finish();
  return made;
}
