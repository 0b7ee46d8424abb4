/**
 * Bodies of requests, read into pooled buffers: the usual block into one of a MiB, the rest into a few large ones.
 * The pools bound how many bodies are received at once, and share that among the callers.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { announcedSize, readBody } from '@shoal/chassis';
import { MiB, type PeerId, RequestInvalid } from '@shoal/protocol';
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

/** @throws RequestInvalid for an empty batch. */
export function assertNotEmpty(count: number): void {
  if (count === 0) throw new RequestInvalid({ reason: 'the body holds no block' });
}
