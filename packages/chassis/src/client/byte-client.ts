/**
 * Block bodies from other storages, read from the socket straight into the caller's buffer.
 *
 * This is the path that every byte of every download takes. A general HTTP client allocates a buffer
 * for each 64 KiB that arrives, and collecting those was a quarter of this process's time
 * (bench/README.md). Here the kernel writes into the block's own buffer and nothing is allocated.
 *
 * It speaks the least of HTTP/1.1 that our own storage answers with: a status line, headers, and a
 * body with Content-Length. Anything else that a peer sends (chunked bodies, 1xx, more bytes than it said)
 * ends the connection: the peer is faulty or lies, and is treated as either.
 */
import type { Socket } from 'node:net';
import {
  type ByteRequest,
  type Connection,
  type Exchange,
  isTimeout,
  openConnection,
} from './connection.ts';

export interface ByteClient extends Disposable {
  /** Resolves when the whole body is in the buffer. The buffer is not touched after it settles. */
  get(request: ByteRequest): Promise<void>;
}

interface Origin {
  readonly idle: Connection[];
  readonly waiting: (() => void)[];
  open: number;
}

/** @param connectionsMax To one origin, and over TLS to one peer there. */
export function createByteClient(connectionsMax: number, connectTimeoutMs: number): ByteClient {
  const origins = new Map<string, Origin>();
  const sockets = new Set<Socket>();

  const open = (request: ByteRequest, name: string, origin: Origin): Connection => {
    const connection = openConnection(request, {
      connectTimeoutMs,
      onFree(freed) {
        origin.idle.push(freed);
        origin.waiting.shift()?.();
      },
      onClose(closed) {
        sockets.delete(closed.socket);
        origin.open -= 1;
        const at = origin.idle.indexOf(closed);
        if (at >= 0) origin.idle.splice(at, 1);
        origin.waiting.shift()?.();
        if (origin.open === 0 && origin.waiting.length === 0) origins.delete(name);
      },
    });
    origin.open += 1;
    sockets.add(connection.socket);
    return connection;
  };

  const takeConnection = async (request: ByteRequest): Promise<Connection> => {
    const { secure, signal } = request;
    const name = `${secure?.peerId ?? 'plain'} ${request.origin}`;
    for (;;) {
      signal.throwIfAborted();
      const origin = origins.get(name) ?? { idle: [], waiting: [], open: 0 };
      origins.set(name, origin);
      const idle = origin.idle.pop();
      if (idle !== undefined) return idle;
      if (origin.open < connectionsMax) return open(request, name, origin);
      const { waiting } = origin;
      await new Promise<void>((resolve) => {
        const go = () => {
          signal.removeEventListener('abort', leave);
          resolve();
        };
        const leave = () => {
          const at = waiting.indexOf(go);
          if (at >= 0) waiting.splice(at, 1);
          resolve();
        };
        signal.addEventListener('abort', leave, { once: true });
        waiting.push(go);
      });
      // Woken and gone in the same moment: the turn belongs to the next.
      if (signal.aborted) waiting.shift()?.();
    }
  };

  return {
    async get(request) {
      for (;;) {
        const connection = await takeConnection(request);
        if (request.signal.aborted) connection.free(); // no event will tell: it was before we listened
        request.signal.throwIfAborted();
        if ((await exchangeOn(connection, request)) === 'done') return;
      }
    },
    [Symbol.dispose]() {
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** Sends a request on a connection; `stale` when that had been closed before it got there. */
async function exchangeOn(connection: Connection, request: ByteRequest): Promise<'done' | 'stale'> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const exchange: Exchange = {
    request,
    resolve,
    reject,
    leftBytes: undefined,
    filledBytes: 0,
    into: undefined,
    head: Buffer.alloc(0),
    isLast: false,
    hasBegun: false,
  };
  const onAbort = () => connection.socket.destroy();
  request.signal.addEventListener('abort', onAbort, { once: true });
  connection.start(exchange);
  try {
    await promise;
    return 'done';
  } catch (error) {
    request.signal.throwIfAborted();
    // The server may close an idle connection in the moment we use it: that says nothing of the block.
    if (connection.isReused() && !exchange.hasBegun && !isTimeout(error)) return 'stale';
    throw error;
  } finally {
    request.signal.removeEventListener('abort', onAbort);
  }
}
