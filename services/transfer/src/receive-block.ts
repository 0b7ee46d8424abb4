/**
 * One block from one storage, into a pooled buffer, hashed when the last byte is here.
 *
 * The bytes are copied straight from undici's parser: no stream, no intermediate array. A body longer
 * than the block is refused when its first byte too many arrives, so a peer that never ends costs
 * nothing but its deadline.
 */
import type { BufferPool, PeerClient, Target } from '@shoal/chassis';
import { verify } from '@shoal/blocks';
import {
  BLOCK_SIZE_MAX_BYTES,
  BlockCorrupt,
  BlockNotFound,
  type Cid,
  routePath,
  storageRoutes,
} from '@shoal/protocol';
import type { Dispatcher } from 'undici';

/** A verified block. `release` gives its buffer back; the bytes are gone then. */
export interface ReceivedBlock {
  readonly bytes: Buffer;
  readonly release: () => void;
}

export interface ReceiveDeps {
  readonly client: PeerClient;
  readonly pool: BufferPool;
  readonly stallMs: number;
  readonly timeoutMs: number;
}

/**
 * Gets and verifies a block.
 * @param sizeBytes What the manifest says of its size; undefined when nothing does.
 * @throws BlockCorrupt for bytes that are not the block; BlockNotFound; Error for a peer that fails.
 */
export function receiveBlock(
  { client, pool, stallMs, timeoutMs }: ReceiveDeps,
  target: Target,
  cid: Cid,
  sizeBytes: number | undefined,
  { signal }: { signal: AbortSignal },
): Promise<ReceivedBlock> {
  const sizeMaxBytes = sizeBytes ?? BLOCK_SIZE_MAX_BYTES;
  return new Promise((resolve, reject) => {
    // A block over a pooled buffer's size is rare (not cut by us): it gets a buffer of its own.
    const pooled = pool.take();
    const isPooled = sizeMaxBytes <= pooled.length;
    if (!isPooled) pool.give(pooled);
    const buffer = isPooled ? pooled : Buffer.allocUnsafeSlow(sizeMaxBytes);
    const release = () => (isPooled ? pool.give(buffer) : undefined);
    let filledBytes = 0;
    let isOver = false;
    let controller: Dispatcher.DispatchController | undefined;

    const end = (error?: Error): void => {
      if (isOver) return;
      isOver = true;
      clearTimeout(deadline);
      signal.removeEventListener('abort', onAbort);
      if (error === undefined) {
        resolve({ bytes: buffer.subarray(0, filledBytes), release });
        return;
      }
      // undici may still hold a chunk, but never our buffer: data after the end is ignored below.
      release();
      controller?.abort(error);
      reject(error);
    };
    const onAbort = () => end(new Error('no longer wanted', { cause: signal.reason }));
    const deadline = setTimeout(
      () => end(new Error(`block not here after ${timeoutMs} ms`)),
      timeoutMs,
    );
    if (signal.aborted) return onAbort();
    signal.addEventListener('abort', onAbort, { once: true });

    client.dispatch(
      target,
      routePath(storageRoutes.getBlock.path, { cid }),
      {
        onRequestStart(given) {
          controller = given;
          if (isOver) given.abort(new Error('no longer wanted'));
        },
        onResponseStart(_, statusCode, headers) {
          if (statusCode === 404) return end(new BlockNotFound({ cid }));
          if (statusCode !== 200) return end(new Error(`a block was answered with ${statusCode}`));
          const lengthText = headers['content-length'];
          const isWrong = sizeBytes !== undefined && Number(lengthText) !== sizeBytes;
          if (lengthText !== undefined && isWrong)
            end(new BlockCorrupt({ cid, peer: target.peerId }));
        },
        onResponseData(_, piece) {
          if (isOver) return;
          if (filledBytes + piece.length > sizeMaxBytes)
            return end(new BlockCorrupt({ cid, peer: target.peerId }));
          buffer.set(piece, filledBytes);
          filledBytes += piece.length;
        },
        onResponseEnd() {
          if (isOver) return;
          const isRight = verify(cid, buffer.subarray(0, filledBytes));
          end(isRight ? undefined : new BlockCorrupt({ cid, peer: target.peerId }));
        },
        onResponseError(_, error) {
          end(error);
        },
      },
      { headersTimeoutMs: stallMs, bodyTimeoutMs: stallMs },
    );
  });
}
