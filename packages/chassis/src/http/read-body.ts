/** A small body, read whole into a buffer of the caller's, within a bound of size and of time. */
import type { IncomingMessage } from 'node:http';
import { BodyIncomplete, BodyTooLarge, BodyTooSlow } from '@shoal/protocol';

/** The size that the request announces; undefined when it is sent in pieces. @throws BodyTooLarge */
export function announcedSize(request: IncomingMessage, sizeMaxBytes: number): number | undefined {
  const header = request.headers['content-length'];
  if (header === undefined) return undefined;
  const sizeBytes = Number(header);
  if (sizeBytes > sizeMaxBytes) throw new BodyTooLarge({ sizeMaxBytes });
  return sizeBytes;
}

/**
 * Fills `buffer` with the body and gives the part that was filled. `stallTimeoutMs` is the longest time for all of it.
 * @throws BodyTooLarge, BodyIncomplete, BodyTooSlow
 */
export function readBody(
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
