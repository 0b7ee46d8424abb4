/**
 * The end of a resumable upload: the last chunk → all chunks are there → sha-256 → DAG → pin → copies.
 * Any step may fail and is tried again by the next request: until the pin exists nothing is given up, and
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
import { type IntakeDeps, resumeIntake } from '../intake/intake.ts';
import {
  confirmDag,
  pinDag,
  type PinnedDag,
  replyBeforeCopies,
} from '../intake/pin-and-confirm.ts';
import type { BlockPuts } from '../intake/put-blocks.ts';
import { createLeafReader, holdLeaves, LeafLost } from './blocks.ts';
import type { ResumableUpload } from './upload-state.ts';

/** A file that is pinned, and a promise of what is known once its copies are there, or late. */
export interface Finished {
  readonly reply: UploadReply;
  readonly confirmed: Promise<UploadReply>;
}

/**
 * Pins the file of an upload whose bytes are all here. Unlike other intakes it answers before the copies,
 * so that another request may ask how it is going.
 * @throws UploadOffsetWrong when blocks were lost: the upload resumes from there. DigestMismatch,
 * QuotaExceeded, StorageFull, ServiceUnavailable, PinDoubtful.
 */
export async function finishUpload(upload: ResumableUpload, deps: IntakeDeps): Promise<Finished> {
  const held = upload.held(deps);
  const draft = await makeFile(upload, deps);
  await upload.beginPinning();
  const { copies, token } = upload.wishes;
  const pinned = await pinDag({ ...held, draft, copies, isHere: true }, { ...deps, token });
  const reply = await replyBeforeCopies(pinned, deps);
  // The pin exists. Without this line a restart pins once more, and finds the same.
  await upload.keep(reply).catch((err: unknown) => {
    deps.log.warn({ err, upload: upload.id }, 'kept upload not written down');
  });
  await held.hold.pinned();
  await upload.removeTail();
  return { reply, confirmed: confirmKept(upload, pinned, reply, deps) };
}

/** Waits for the copies of a pinned file. Never throws: the file is kept in any case. */
async function confirmKept(
  upload: ResumableUpload,
  pinned: PinnedDag,
  before: UploadReply,
  deps: IntakeDeps,
): Promise<UploadReply> {
  let known = before;
  try {
    ({ reply: known } = await confirmDag(pinned, deps, { signal: deps.stopping }));
    await upload.keep(known);
  } catch (err) {
    deps.log.debug({ err, cid: known.cid }, 'copies not confirmed'); // stopping, or a full disk
  } finally {
    pinned.hold.close();
  }
  return known;
}

/** Makes the file's blocks whole. Answers what to pin. */
async function makeFile(upload: ResumableUpload, deps: IntakeDeps): Promise<PinDraft> {
  const { client, stopping: signal } = deps;
  const { puts, hold } = resumeIntake(upload.held(deps), deps, { signal });
  try {
    await storeLast(upload, puts);
    await holdLeaves(upload, client, { signal });
    const read = createLeafReader(upload, client, { signal });
    await upload.hash.catchUp(() => upload.leaves.count, read);
    const sha256 = upload.hash.digest();
    const { name, replicas, expiresAtMs, sha256: expected } = upload.wishes;
    if (expected !== undefined && expected !== sha256)
      throw new DigestMismatch({ expected, actual: sha256 });
    for (const cid of upload.takeUncopiedLeaves()) hold.replication.add(cid);
    hold.replication.finish();
    const { root, blocks, sizeBytes } = await storeNodes(upload, puts);
    const facts = { root, kind: 'file' as const, name: name ?? root, sizeBytes, sha256, blocks };
    return { ...facts, replicas, ...(expiresAtMs === undefined ? {} : { expiresAtMs }) };
  } catch (error) {
    if (!(error instanceof LeafLost)) throw error;
    deps.metrics.resumableStepsBack.inc();
    await upload.cutTo(error.index);
    const { id, offset: offsetBytes } = upload;
    throw new UploadOffsetWrong({ id, offsetBytes }, { cause: error });
  } finally {
    await puts.drain();
  }
}

/** The tail becomes the last chunk; an empty file has an empty one. */
async function storeLast(upload: ResumableUpload, puts: BlockPuts): Promise<void> {
  const { hash, log } = upload;
  const { count } = upload.leaves;
  const tail = await upload.readTail();
  if (tail === undefined && (count > 0 || upload.sizeBytes !== 0)) return;
  const bytes = tail ?? new Uint8Array();
  const cid = hashBlock('raw', bytes);
  await puts.putNamed([{ cid, bytes }]);
  await puts.finish();
  await upload.addLeaves([cid]);
  await log.sync();
  hash.add(count, bytes);
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
