/**
 * Answering before the body is read. Closing then would reset the connection, and the sender would
 * lose the answer that says why (RFC 9112 §9.6). So the answer goes out whole, the rest of the body
 * is read and thrown away for a short while, and only then the connection is closed.
 */
import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import type { Server } from '@shoal/chassis';

/** Time for the sender to see the answer and stop: a few round trips of a bad line. */
const LINGER_MAX_MS = 3000;

/** Makes every answer of `app` that overtakes its request's body close the connection gently. */
export function lingerAfterEarlyAnswers(app: Server): void {
  app.addHook('onSend', async (request, reply, payload) => {
    const { raw } = request;
    const isWhole = typeof payload === 'string' || Buffer.isBuffer(payload);
    if (raw.complete || raw.destroyed || !isWhole) return payload;
    const bytes = Buffer.from(payload);
    void reply.header('connection', 'close').header('content-length', bytes.length);
    return Readable.from(answerThenDrain(bytes, raw));
  });
}

async function* answerThenDrain(bytes: Buffer, raw: IncomingMessage): AsyncGenerator<Buffer> {
  yield bytes;
  await drained(raw);
}

function drained(raw: IncomingMessage): Promise<void> {
  return new Promise((resolve) => {
    if (raw.complete || raw.destroyed) return resolve();
    const done = () => {
      clearTimeout(timer);
      resolve();
    };
    const timer = setTimeout(done, LINGER_MAX_MS);
    raw.once('end', done).once('close', done).once('error', done);
    raw.unpipe();
    raw.resume();
  });
}
