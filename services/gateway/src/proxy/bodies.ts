/** The body of a request, on its way to the service behind. */
import type { IncomingMessage } from 'node:http';
import { PassThrough } from 'node:stream';

/** Whether a body comes (RFC 9112 §6): an empty one that is announced all the same may be refused behind. */
export function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}

/**
 * The body as a stream of its own. undici destroys the stream that it was given when an answer comes
 * early; on the request itself that would destroy the client's socket before it could read why.
 */
export function bodyOf(raw: IncomingMessage): PassThrough {
  const body = new PassThrough();
  raw.pipe(body);
  raw.once('close', () => {
    if (!raw.complete) body.destroy(new Error('the client left'));
  });
  body.on('error', () => {}); // undici reports it as the end of the request
  body.once('close', () => {
    raw.unpipe(body);
    raw.resume();
  });
  return body;
}
