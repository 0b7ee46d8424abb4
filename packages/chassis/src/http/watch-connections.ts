/**
 * Connections that are idle when a server stops, or become so, end. Node ends those that are idle in the moment in which
 * it stops, and counts only those that brought a request before: it would wait for a minute, or without end, for one that
 * was opened ahead by a browser or a pool, for one that was opened meanwhile, and for one whose answer was
 * under way.
 */
import type { IncomingMessage, Server } from 'node:http';
import type { Socket } from 'node:net';

/** A connection that is opened while the server stops has this long to bring its request. Past it: closed. */
const REQUEST_TIMEOUT_MS = 250;
/** Between two looks at the connections of a server that stops. */
const LOOK_MS = 50;

/** `endIdle` begins to end them, until the server is closed. */
export function watchConnections(server: Server): { endIdle(): void } {
  const unused = new Set<Socket>();
  let isEnding = false;
  server.on('connection', (socket: Socket) => {
    unused.add(socket);
    const late = isEnding ? setTimeout(() => endUnused(socket), REQUEST_TIMEOUT_MS) : undefined;
    socket.once('close', () => {
      clearTimeout(late);
      unused.delete(socket);
    });
  });
  // No listener for `upgrade`: with one, Node would hand it whatever offers to change the protocol, as curl
  // --http2 and Java do, and nobody would answer. Like this, those are requests like any other (RFC 9110 §7.8).
  server.on('request', ({ socket }: IncomingMessage) => void unused.delete(socket));
  const endUnused = (socket: Socket): void => {
    if (unused.has(socket)) socket.destroy();
  };
  return {
    endIdle() {
      if (isEnding) return;
      isEnding = true;
      for (const socket of unused) socket.destroy();
      const looks = setInterval(() => server.closeIdleConnections(), LOOK_MS);
      server.once('close', () => clearInterval(looks));
    },
  };
}
