/**
 * Sends a block out of the pooled buffer that it was read into. The socket may read the buffer until the response
 * closes, so it is given back then and not before; and since a caller that stops reading would hold on to it, the
 * time for a block is bounded.
 */
import type { ServerResponse } from 'node:http';
import { TLSSocket } from 'node:tls';
import type { BlockBytes } from '../disk/block-record.ts';
import type { Metrics } from '../metrics.ts';

/**
 * Head and block go to TLS as one, for which they are copied into another buffer; the size is a guess.
 * Past it: the head goes first, by itself.
 */
const COPIED_SIZE_MAX_BYTES = 64 * 1024;

/** How the bytes of a block are described, also to HEAD. */
export const blockHeaders = (sizeBytes: number) => ({
  'content-type': 'application/octet-stream',
  'content-length': sizeBytes,
  'x-content-type-options': 'nosniff',
});

export function sendBlock(
  response: ServerResponse,
  block: BlockBytes,
  {
    metrics,
    stallTimeoutMs,
  }: {
    readonly metrics: Pick<Metrics, 'blocksRead' | 'bytesRead'>;
    readonly stallTimeoutMs: number;
  },
): void {
  const late = setTimeout(() => response.destroy(), stallTimeoutMs);
  block.signal?.addEventListener('abort', () => response.destroy()); // its peer asks again, or another one
  response.once('close', () => {
    clearTimeout(late);
    const isSent = response.writableFinished;
    metrics.blocksRead.inc({ outcome: isSent ? 'sent' : 'aborted' });
    if (isSent) metrics.bytesRead.inc(block.bytes.length);
    block[Symbol.dispose]();
  });
  response.writeHead(200, blockHeaders(block.bytes.length));
  if (response.socket instanceof TLSSocket && block.bytes.length > COPIED_SIZE_MAX_BYTES)
    response.flushHeaders();
  response.end(block.bytes);
}
