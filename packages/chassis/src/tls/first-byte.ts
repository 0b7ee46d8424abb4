/**
 * TLS and plain HTTP on one port: the first byte of a connection tells which it is, as no request begins like a TLS
 * record. The same HTTP server answers both.
 *
 * It works ahead of the server's `connection` event, so that all listeners of that see the socket that carries HTTP, and
 * see it once. Rejected: a second port, which every firewall, map of a container and member record would have to know;
 * and a proxy in front, which copies every byte.
 */
import type { Server as HttpServer } from 'node:http';
import type { Socket } from 'node:net';

/** The type of a TLS record that begins a handshake. */
const HANDSHAKE_RECORD = 0x16;
/**
 * A connection has this long to send its first byte: as long as it then has for its headers.
 * Past it: closed.
 */
const FIRST_BYTE_TIMEOUT_MS = 60_000;
/** The same for a connection that is opened while the server stops. Past it: closed. */
const ENDING_TIMEOUT_MS = 250;
/**
 * A handshake, and the line after it that proves membership: some round trips, and 4 ms of CPU at both ends together.
 * Past it: closed.
 */
export const HANDSHAKE_TIMEOUT_MS = 5000;

export interface Split {
  /** Hands a socket that carries HTTP to the server. */
  serve(socket: Socket): void;
  /** Ends connections that have brought nothing yet, and those to come soon. */
  endIdle(): void;
}

/** From now on `onTls` is given each connection that begins a TLS handshake, and how long that may take. */
export function splitByFirstByte(
  server: HttpServer,
  onTls: (socket: Socket, timeoutMs: number) => void,
): Split {
  // The event has many forms, of which one is of interest.
  const emit = server.emit.bind(server) as (event: string, ...args: unknown[]) => boolean;
  const serve = (socket: Socket): void => void emit('connection', socket);
  const silent = new Set<Socket>();
  let isEnding = false;

  const look = (socket: Socket): void => {
    const drop = () => void socket.destroy();
    const timer = setTimeout(drop, isEnding ? ENDING_TIMEOUT_MS : FIRST_BYTE_TIMEOUT_MS);
    const leave = () => {
      clearTimeout(timer);
      silent.delete(socket);
      socket.off('readable', read).off('end', drop).off('error', drop).off('close', leave);
    };
    const read = () => {
      const bytes = socket.read() as Buffer | null; // no encoding is set
      if (bytes === null) return; // it ends
      leave();
      socket.unshift(bytes);
      if (bytes[0] !== HANDSHAKE_RECORD) return serve(socket);
      onTls(socket, isEnding ? ENDING_TIMEOUT_MS : HANDSHAKE_TIMEOUT_MS);
    };
    silent.add(socket);
    socket.on('readable', read).on('end', drop).on('error', drop).on('close', leave);
  };
  server.emit = ((event: string, ...args: unknown[]) => {
    if (event !== 'connection') return emit(event, ...args);
    look(args[0] as Socket); // what that event gives
    return true;
  }) as HttpServer['emit'];

  return {
    serve,
    endIdle() {
      isEnding = true;
      for (const socket of silent) socket.destroy();
    },
  };
}
