/**
 * Bodies of requests, read into pooled buffers: the usual block into one of a MiB, the rest into a few large ones.
 * The pools bound how many bodies are received at once, and share that among the callers.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  BodyIncomplete,
  BodyTooLarge,
  BodyTooSlow,
  MiB,
  type PeerId,
  RequestInvalid,
} from '@shoal/protocol';
import { createBufferPools } from '../disk/buffer-pools.ts';

/** Largest body of `POST /blocks/batch`. */
export const BATCH_SIZE_MAX_BYTES = 4 * MiB;
/** Bodies above a MiB, or of unknown size, at once. */
const LARGE_BODIES_MAX = 4;

export interface BodyLimits {
  readonly writesMax: number;
  readonly waitingMax: number;
  readonly stallTimeoutMs: number;
}

/** Calls `use` with a request's body, whose buffer is on loan until that is done. */
export type WithBody = <T>(
  call: {
    readonly request: IncomingMessage;
    readonly response: ServerResponse;
    readonly caller: PeerId;
  },
  sizeMaxBytes: number,
  use: (bytes: Uint8Array) => Promise<T>,
) => Promise<T>;

export function createBodyReader({ writesMax, waitingMax, stallTimeoutMs }: BodyLimits): WithBody {
  const pools = createBufferPools({
    what: 'block writes in flight',
    usualMax: writesMax,
    large: { sizeBytes: BATCH_SIZE_MAX_BYTES, buffersMax: LARGE_BODIES_MAX },
    waitingMax,
  });
  return async ({ request, response, caller }, sizeMaxBytes, use) => {
    try {
      const sizeBytes = announcedSize(request, sizeMaxBytes);
      using pooled = await pools.take(sizeBytes, { client: caller });
      const bytes = await readBody(request, pooled.buffer, { sizeMaxBytes, stallTimeoutMs });
      return await use(bytes);
    } catch (error) {
      // The rest of the body would be taken for the next request.
      if (!request.complete && !response.headersSent) response.setHeader('connection', 'close');
      throw error;
    }
  };
}

/** The size that the request announces; undefined when it is sent in pieces. @throws BodyTooLarge */
function announcedSize(request: IncomingMessage, sizeMaxBytes: number): number | undefined {
  const header = request.headers['content-length'];
  if (header === undefined) return undefined;
  const sizeBytes = Number(header);
  if (sizeBytes > sizeMaxBytes) throw new BodyTooLarge({ sizeMaxBytes });
  return sizeBytes;
}

/**
 * Fills `buffer` with the body and gives the part that was filled.
 * @throws BodyTooLarge, BodyIncomplete, BodyTooSlow
 */
function readBody(
  request: IncomingMessage,
  buffer: Uint8Array,
  { sizeMaxBytes, stallTimeoutMs }: { sizeMaxBytes: number; stallTimeoutMs: number },
): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    let receivedBytes = 0;
    const finish = (done: () => void): void => {
      clearTimeout(late);
      request.off('data', onData).off('end', onEnd).off('close', onClose);
      done();
    };
    const onData = (piece: Uint8Array): void => {
      if (receivedBytes + piece.length > Math.min(sizeMaxBytes, buffer.length))
        return finish(() => reject(new BodyTooLarge({ sizeMaxBytes })));
      buffer.set(piece, receivedBytes);
      receivedBytes += piece.length;
    };
    const onEnd = (): void => finish(() => resolve(buffer.subarray(0, receivedBytes)));
    const onClose = (): void => {
      const expected = Number(request.headers['content-length']);
      finish(() =>
        reject(
          new BodyIncomplete({
            receivedBytes,
            expectedBytes: Number.isSafeInteger(expected) ? expected : undefined,
          }),
        ),
      );
    };
    const late = setTimeout(() => {
      const bytesPerSecondMin = Math.ceil((sizeMaxBytes * 1000) / stallTimeoutMs);
      finish(() => reject(new BodyTooSlow({ bytesPerSecondMin })));
    }, stallTimeoutMs);
    request.on('error', () => {}); // `close` reports a caller that left
    request.on('data', onData).on('end', onEnd).on('close', onClose);
    if (request.destroyed) onClose();
  });
}

/** @throws RequestInvalid for an empty batch. */
export function assertNotEmpty(count: number): void {
  if (count === 0) throw new RequestInvalid({ reason: 'the body holds no block' });
}
