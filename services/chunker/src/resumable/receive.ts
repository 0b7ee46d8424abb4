/**
 * The bytes of one request on their way into a resumable upload: tail and body → chunks → storage,
 * then what is left over → tail. However the request ends, what is durable by then is written down, in
 * order and without a gap, and counts.
 */
import { chunk } from '@shoal/blocks';
import { BodyIncomplete, BodyTooLarge, CHUNK_SIZE_BYTES } from '@shoal/protocol';
import { type IntakeDeps, resumeIntake } from '../intake/intake.ts';
import type { Leaf } from '../intake/put-blocks.ts';
import { createLeafReader } from './blocks.ts';
import { type ResumableUpload, TakenOver } from './upload-state.ts';

/** Between two chunks of a sender this slow there is nothing to overlap: each is written down at once. */
const SLOW_CHUNK_MS = 1000;
/** Chunks that a power cut during a long request costs at most. */
const SYNC_LEAVES_MAX = 64;

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
  const { hash, log } = upload;
  const { puts, signal: either, received } = resumeIntake(upload.held(deps), deps, { signal });
  const roomBytes = (upload.sizeBytes ?? sizeMaxBytes) - upload.offset;
  let ending: unknown;
  let unsyncedLeaves = 0;
  let hasGap = false;

  const pieces = async function* () {
    try {
      const tail = await upload.readTail();
      if (tail !== undefined) yield tail;
      for await (const piece of upTo(body({ signal: either }), roomBytes, sizeMaxBytes)) {
        received(piece.length);
        yield piece;
      }
    } catch (error) {
      ending = error; // the chunk that is being filled is not lost for that
    }
  };
  const writeDown = async (durable: readonly Leaf[]): Promise<void> => {
    if (durable.length === 0 || hasGap) return;
    hasGap = true; // unless these get into the log
    await upload.addLeaves(durable.map(({ cid }) => cid));
    hasGap = false;
    readBack(upload, deps);
    unsyncedLeaves += durable.length;
    if (unsyncedLeaves < SYNC_LEAVES_MAX) return;
    await log.sync();
    unsyncedLeaves = 0;
  };

  readBack(upload, deps);
  try {
    let index = upload.leaves.count;
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
        if (cut.bytes.length > 0) await upload.writeTail(cut.bytes);
        puts.giveBack(cut.buffer);
      }
    }
    await writeDown(await puts.finishLeaves());
  } catch (error) {
    ending = error;
    await writeDown(await puts.rescueLeaves());
  } finally {
    await puts.drain();
    hash.cutTo(upload.leaves.count);
  }
  if (unsyncedLeaves > 0) await log.sync();
  await upload.dropOldTail();
  upload.usedAtMs = Date.now();
  const isLeft = ending instanceof TakenOver || ending instanceof BodyIncomplete;
  if (ending !== undefined && !isLeft) throw ending as Error; // our code throws nothing else
}

/** Reads the chunks of an earlier process for the file's hash, beside those that come in. */
function readBack(upload: ResumableUpload, { client, stopping, log }: IntakeDeps): void {
  if (upload.hash.count >= upload.leaves.count || upload.hash.isCatchingUp) return;
  const read = createLeafReader(upload, client, { signal: stopping });
  upload.hash
    .catchUp(() => upload.leaves.count, read)
    .catch((err: unknown) => log.debug({ err }, 'chunks not read back yet'));
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
