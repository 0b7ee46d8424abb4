/**
 * A connection of the byte client (byte-client.ts): one request at a time, whose answer is read from the
 * socket into the request's own buffer.
 */
import { connect, type OnReadOpts, type Socket } from 'node:net';
import type { PeerId } from '@shoal/protocol';
import { connectToPeer, hostAndPort } from '../tls/connect.ts';
import type { PeerTls } from '../tls/peer-tls.ts';

/** Headers of a block's answer. Past it: the connection is closed; the next provider is asked. */
const HEAD_SIZE_MAX_BYTES = 16 * 1024;
/** First bytes of an answer land here, headers and some body: the only bytes that are copied. */
const SCRATCH_SIZE_BYTES = 64 * 1024;
/**
 * An answer that is not a block may be this long to be read away; past that we hang up instead.
 * Past it: the connection is closed instead.
 */
const DISCARD_SIZE_MAX_BYTES = SCRATCH_SIZE_BYTES;
/**
 * Idle connections are closed by us before the server does it, so that none is reused dying.
 * Past it: closed.
 */
const IDLE_TIMEOUT_MS = 30_000;

export interface Secure {
  readonly peerId: PeerId;
  readonly tls: PeerTls;
}

export interface ByteRequest {
  readonly origin: string;
  /** The peer that must be there, and our side of TLS; undefined: plainly. */
  readonly secure: Secure | undefined;
  /** Path with query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  /**
   * Called with status and length; gives the buffer that the body goes into, of at least that length, or
   * undefined to discard it. If it throws, the answer is refused.
   */
  readonly onHead: (status: number, sizeBytes: number) => Uint8Array | undefined;
  /** The answer must begin, and go on, at least this often. */
  readonly stallMs: number;
  readonly signal: AbortSignal;
}

/** The request in progress on a connection. */
export interface Exchange {
  readonly request: ByteRequest;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
  /** Body bytes still to come; undefined before the head is complete. */
  leftBytes: number | undefined;
  filledBytes: number;
  into: Uint8Array | undefined;
  head: Buffer;
  isLast: boolean;
  hasBegun: boolean;
}

export interface Connection {
  readonly socket: Socket;
  readonly isReused: () => boolean;
  start(exchange: Exchange): void;
  /** Back to the others, unused or used to the end. */
  free(): void;
}

export interface ConnectionOptions {
  readonly connectTimeoutMs: number;
  readonly onFree: (connection: Connection) => void;
  readonly onClose: (connection: Connection) => void;
}

/** Connects; the first request may be started at once, and is sent when the connection is ready for it. */
export function openConnection(
  { origin, secure }: Pick<ByteRequest, 'origin' | 'secure'>,
  { connectTimeoutMs, onFree, onClose }: ConnectionOptions,
): Connection {
  const scratch = Buffer.allocUnsafeSlow(SCRATCH_SIZE_BYTES);
  let current: Exchange | undefined;
  let exchanges = 0;
  /** Over TLS: once it is certain who is there. */
  let isReady = false;

  const onread: OnReadOpts = {
    // Asked before each read: the body's own place when it is known, the scratch otherwise.
    buffer: () => {
      const into = current?.into;
      const left = current?.leftBytes;
      if (current === undefined || into === undefined || left === undefined) return scratch;
      return into.subarray(current.filledBytes, current.filledBytes + left);
    },
    callback: (sizeBytes, buffer) => {
      onBytes(sizeBytes, buffer);
      return true;
    },
  };
  const onReady = (): void => {
    isReady = true;
    if (current === undefined) socket.setTimeout(IDLE_TIMEOUT_MS);
    else send(current.request);
  };
  const socket: Socket =
    secure === undefined
      ? connect({ ...hostAndPort(origin), noDelay: true, onread }, onReady)
      : connectToPeer({ peerId: secure.peerId, origin }, secure.tls, { onReady, onread });

  const send = ({ path, headers, stallMs }: ByteRequest): void => {
    socket.setTimeout(stallMs);
    const lines = Object.entries(headers).map(([key, value]) => `${key}: ${value}\r\n`);
    socket.write(
      `GET ${path} HTTP/1.1\r\nhost: ${new URL(origin).host}\r\n${lines.join('')}\r\n`,
      'latin1',
    );
  };

  const fail = (error: Error): void => {
    socket.destroy();
    const exchange = current;
    current = undefined;
    exchange?.reject(error);
  };
  const onBytes = (sizeBytes: number, buffer: Uint8Array): void => {
    const exchange = current;
    if (exchange === undefined) return fail(new Error('bytes that nobody asked for'));
    exchange.hasBegun = true;
    try {
      if (exchange.leftBytes === undefined) readHead(exchange, buffer.subarray(0, sizeBytes));
      else readBody(exchange, buffer, sizeBytes);
    } catch (error) {
      return fail(error as Error);
    }
    if (exchange.leftBytes === 0) finish(exchange);
  };
  const finish = (exchange: Exchange): void => {
    current = undefined;
    if (exchange.isLast) socket.destroy();
    else connection.free();
    exchange.resolve();
  };
  socket.setTimeout(connectTimeoutMs);
  socket.on('timeout', () =>
    fail(new Error(current === undefined ? 'idle' : 'no bytes for too long')),
  );
  socket.on('error', fail);
  socket.on('end', () => fail(new Error('the peer closed the connection')));
  socket.on('close', () => {
    fail(new Error('the connection closed'));
    onClose(connection);
  });

  const connection: Connection = {
    socket,
    isReused: () => exchanges > 1,
    free() {
      if (isReady) socket.setTimeout(IDLE_TIMEOUT_MS);
      onFree(connection);
    },
    start(exchange) {
      current = exchange;
      exchanges += 1;
      if (isReady) send(exchange.request);
    },
  };
  return connection;
}

/** Whether a request failed because nothing came for too long. */
export const isTimeout = (error: unknown): boolean =>
  error instanceof Error && error.message === 'no bytes for too long';

/** Gathers the head; once it is whole, what follows of it is the body's beginning. */
function readHead(exchange: Exchange, bytes: Uint8Array): void {
  const { length } = exchange.head;
  exchange.head = Buffer.concat([exchange.head, bytes]);
  const end = exchange.head.indexOf('\r\n\r\n', Math.max(0, length - 3));
  if (end < 0) {
    if (exchange.head.length > HEAD_SIZE_MAX_BYTES) throw new Error('the head is too long');
    return;
  }
  const [statusLine = '', ...lines] = exchange.head.toString('latin1', 0, end).split('\r\n');
  const status = /^HTTP\/1\.1 ([2-5]\d\d)(?: |$)/.exec(statusLine)?.[1];
  if (status === undefined) throw new Error('the status line is not one');
  const lengths = lines.flatMap(
    (line) => /^content-length:\s*(\d{1,15})\s*$/i.exec(line)?.[1] ?? [],
  );
  const [lengthText] = lengths;
  const isFramedOtherwise = lines.some((line) => /^transfer-encoding:/i.test(line));
  if (lengths.length !== 1 || lengthText === undefined || isFramedOtherwise)
    throw new Error('the answer does not say its length');
  exchange.isLast = lines.some((line) => /^connection:\s*close\s*$/i.test(line));
  const sizeBytes = Number(lengthText);
  exchange.leftBytes = sizeBytes;
  exchange.into = exchange.request.onHead(Number(status), sizeBytes);
  if (exchange.into === undefined && sizeBytes > DISCARD_SIZE_MAX_BYTES)
    throw new Error(`an answer of ${status} has ${sizeBytes} bytes`);
  const rest = exchange.head.subarray(end + 4);
  exchange.head = Buffer.alloc(0);
  if (rest.length > sizeBytes) throw new Error('the body is longer than it said');
  exchange.into?.set(rest, 0);
  exchange.filledBytes = rest.length;
  exchange.leftBytes = sizeBytes - rest.length;
}

/** The bytes are in place already, unless they went to the scratch. */
function readBody(exchange: Exchange, buffer: Uint8Array, sizeBytes: number): void {
  const left = exchange.leftBytes ?? 0;
  if (sizeBytes > left) throw new Error('the body is longer than it said');
  const { into, filledBytes } = exchange;
  if (into !== undefined && buffer.buffer !== into.buffer)
    into.set(buffer.subarray(0, sizeBytes), filledBytes);
  exchange.filledBytes += sizeBytes;
  exchange.leftBytes = left - sizeBytes;
}
