/**
 * Answering before the body is read. To close then with bytes unread resets the connection, and the
 * sender loses the answer that says why (RFC 9112 §9.6). So the answer goes out whole, our side of a
 * connection that ends is shut, and what the sender still sends is read and thrown away for a while.
 *
 * It is done on the socket and not on the answer: every answer ends there, also one that was written
 * past the framework, and one to what is no HTTP. Waiting with the end of the answer instead would keep
 * senders that read only whole answers from reading this one.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/**
 * Time for a sender to see the answer and stop, or to get rid of a body of some MB; a guess.
 * Past it: the connection is closed.
 */
const LINGER_MAX_MS = 10_000;
/**
 * The same for a service that must stop, which others wait for: enough for a bad line's round trips.
 * Past it: the connection is closed.
 */
const LINGER_STOPPING_MS = 1000;

/**
 * Makes every answer of a server that overtakes its request's body reach its sender; from `hurry` on it
 * takes little time for that.
 */
export function lingerAfterEarlyAnswers(
  server: Server,
  { lingerMaxMs = LINGER_MAX_MS } = {},
): { hurry(): void } {
  const current = new WeakMap<Socket, IncomingMessage>();
  const hurries = new Set<() => void>();
  let maxMs = lingerMaxMs;
  const readAway = (request: IncomingMessage, socket: Socket, onRead: () => void): void => {
    const cut = () => socket.destroy();
    let timer = setTimeout(cut, maxMs);
    const hurry = () => {
      clearTimeout(timer);
      timer = setTimeout(cut, maxMs);
    };
    const stop = () => {
      clearTimeout(timer);
      hurries.delete(hurry);
    };
    hurries.add(hurry);
    socket.once('close', stop);
    request.once('end', () => {
      stop();
      socket.off('close', stop);
      onRead();
    });
    request.on('error', () => {}); // a sender that leaves now misses nothing
    request.unpipe();
    request.resume();
  };
  server.on('connection', (socket: Socket) => {
    const close = socket.destroySoon.bind(socket);
    // How Node ends a connection after its last answer.
    socket.destroySoon = () => {
      const request = current.get(socket);
      if (request === undefined || request.complete || socket.destroyed) return close();
      socket.end();
      readAway(request, socket, close);
    };
  });
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    const { socket } = request;
    // Nothing is asked any more on a connection that we said we close.
    if (!socket.writable) return void response.destroy();
    current.set(socket, request);
    response.once('finish', () => {
      const isKept = socket.writable && !request.complete;
      if (isKept) readAway(request, socket, () => {});
    });
  });
  return {
    hurry() {
      maxMs = Math.min(maxMs, LINGER_STOPPING_MS);
      for (const hurry of hurries) hurry();
    },
  };
}

/** Sends the last words to a sender whose bytes nobody parses any more, and lets it read them. */
export function endAfterReading(
  socket: Socket,
  lastWords: string,
  { lingerMaxMs = LINGER_MAX_MS } = {},
): void {
  socket.end(lastWords);
  const timer = setTimeout(() => socket.destroy(), lingerMaxMs);
  socket.once('close', () => clearTimeout(timer));
}
