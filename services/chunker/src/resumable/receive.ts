/**
 * The bytes of one request on their way into a resumable upload: tail and body → chunks → storage,
 * then what is left over → tail. However the request ends, what is durable by then is written down, in
 * order and without a gap, and counts.
 */
import { chunk } from '@shoal/blocks';
import { BodyIncomplete, BodyTooLarge, CHUNK_SIZE_BYTES } from '@shoal/protocol';
import type { IntakeDeps } from '../intake/intake.ts';
import { createBlockPuts, type Leaf } from '../intake/put-blocks.ts';
import { createLeafReader } from './blocks.ts';
import { readTail, removeTail, writeTail } from './tail.ts';
import { holdOf, offsetOf, progressOf, type ResumableUpload } from './upload-state.ts';

/** Between two chunks of a sender this slow there is nothing to overlap: each is written down at once. */
const SLOW_CHUNK_MS = 1000;
/** A power cut during a long request costs at most so many chunks. */
const SYNC_LEAVES_MAX = 64;

/** Another request for the same upload came: this one ends as if its body had. */
export class TakenOver extends Error {}

/**
 * Takes in what a request brings. That its sender left, or was taken over, is no failure.
 * @throws BodyTooLarge, BodyTooSlow, StorageFull, ServiceUnavailable
 */
export async function receiveInto(
  upload: ResumableUpload,
  body: (options: { signal: AbortSignal }) => AsyncIterable<Uint8Array>,
  deps: IntakeDeps,
  { sizeMaxBytes }: { readonly sizeMaxBytes: number },
  { signal }: { signal: AbortSignal },
): Promise<void> {
  const { leaves, hash, log } = upload;
  const hold = holdOf(upload, deps);
  const progress = progressOf(upload, deps);
  const failed = new AbortController();
  const either = AbortSignal.any([signal, failed.signal]);
  const puts = createBlockPuts(
    {
      ...deps,
      onLeaf: (cid) => hold.replication.add(cid),
      onFailure: (error) => failed.abort(error),
    },
    hold.lease,
    { signal: either, stopping: deps.stopping },
  );
  const roomBytes = (upload.sizeBytes ?? sizeMaxBytes) - offsetOf(upload);
  let ending: unknown;
  let unsyncedLeaves = 0;
  let hasGap = false;

  const pieces = async function* () {
    try {
      const tail = await readTail(upload.tailPath);
      if (tail?.afterLeaves === leaves.count) yield tail.bytes;
      for await (const piece of upTo(body({ signal: either }), roomBytes, sizeMaxBytes)) {
        progress.received(piece.length);
        yield piece;
      }
    } catch (error) {
      ending = error; // the chunk that is being filled is not lost for that
    }
  };
  const writeDown = async (durable: readonly Leaf[]): Promise<void> => {
    if (durable.length === 0 || hasGap) return;
    hasGap = true; // unless these get into the log
    await log.addLeaves(durable.map(({ cid }) => cid));
    hasGap = false;
    for (const { cid } of durable) leaves.push(cid);
    upload.usedAtMs = Date.now();
    readBack(upload, deps);
    unsyncedLeaves += durable.length;
    if (unsyncedLeaves < SYNC_LEAVES_MAX) return;
    await log.sync();
    unsyncedLeaves = 0;
  };

  readBack(upload, deps);
  try {
    let index = leaves.count;
    let cutAtMs = performance.now();
    const takeBuffer = () => puts.takeBuffer();
    for await (const cut of chunk(pieces(), { sizeBytes: CHUNK_SIZE_BYTES, takeBuffer })) {
      if (cut.bytes.length === CHUNK_SIZE_BYTES) {
        const put = puts.putLeaf(cut); // on its way before we hash: the two then overlap
        hash.add(index, cut.bytes);
        index += 1;
        await writeDown(await put);
        if (performance.now() - cutAtMs > SLOW_CHUNK_MS) await writeDown(await puts.finishLeaves());
        cutAtMs = performance.now();
      } else {
        await writeDown(await puts.finishLeaves());
        if (cut.bytes.length > 0)
          upload.tail = await writeTail(upload.tailPath, leaves.count, cut.bytes);
        puts.giveBack(cut.buffer);
      }
    }
    await writeDown(await puts.finishLeaves());
  } catch (error) {
    ending = error;
    await writeDown(await puts.rescueLeaves());
  } finally {
    await puts.settle();
    hash.keepTo(leaves.count);
  }
  if (unsyncedLeaves > 0) await log.sync();
  await dropOldTail(upload);
  upload.usedAtMs = Date.now();
  const isLeft = ending instanceof TakenOver || ending instanceof BodyIncomplete;
  if (ending !== undefined && !isLeft) throw ending as Error; // our code throws nothing else
}

/** Reads the chunks of an earlier process for the file's hash, beside those that come in. */
function readBack(upload: ResumableUpload, { peers, stopping, log }: IntakeDeps): void {
  if (upload.hash.count >= upload.leaves.count || upload.hash.isCatchingUp) return;
  const read = createLeafReader(upload, peers, { signal: stopping });
  upload.hash
    .catchUp(() => upload.leaves.count, read)
    .catch((err: unknown) => log.debug({ err }, 'chunks not read back yet'));
}

async function dropOldTail(upload: ResumableUpload): Promise<void> {
  if (upload.tail === undefined || upload.tail.afterLeaves === upload.leaves.count) return;
  upload.tail = undefined;
  await removeTail(upload.tailPath);
}

/** @throws BodyTooLarge when more comes than fits the upload. */
async function* upTo(
  pieces: AsyncIterable<Uint8Array>,
  roomBytes: number,
  sizeMaxBytes: number,
): AsyncGenerator<Uint8Array> {
  let leftBytes = roomBytes;
  for await (const piece of pieces) {
    leftBytes -= piece.length;
    if (leftBytes < 0) throw new BodyTooLarge({ sizeMaxBytes });
    yield piece;
  }
}
