/**
 * One HTTP request exactly as written, and its answer exactly as it came. Not fetch and not undici's
 * `request`: paths must go out with the escapes they have, redirects stay answers, headers are counted
 * as bytes, and a body that breaks off is a finding here, not an error.
 */
import { request, type IncomingHttpHeaders } from 'node:http';

/** Clients give up on a gateway whose first byte takes longer (boxo's limit). */
export const ANSWER_TIMEOUT_MS = 10_000;

export interface Ask {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  /** Most that the whole answer may take; default: `ANSWER_TIMEOUT_MS`. */
  readonly timeoutMs?: number;
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** Size of the status line and all header lines, as sent. */
  readonly headSizeBytes: number;
  readonly body: Buffer;
  /** False when the connection ended before the body did. */
  readonly isWhole: boolean;
  readonly tookMs: number;
}

/** Asks and reads the whole answer. @throws Error without an answer, or past the time-out. */
export function ask(origin: string, path: string, options: Ask = {}): Promise<Answer> {
  const { method = 'GET', headers = {}, body, timeoutMs = ANSWER_TIMEOUT_MS } = options;
  const { hostname, port } = new URL(origin);
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const startedAtMs = performance.now();
  const length = body === undefined ? {} : { 'content-length': String(body.length) };
  // A connection of its own each: what an earlier answer left behind can't be blamed on this one.
  const asked = request(
    { hostname, port, path, method, headers: { ...length, ...headers }, agent: false },
    (answer) => {
      const pieces: Buffer[] = [];
      let isWhole = true;
      answer.on('data', (piece: Buffer) => pieces.push(piece));
      answer.on('error', () => {
        isWhole = false;
      });
      answer.on('close', () => {
        clearTimeout(timer);
        resolve({
          status: answer.statusCode ?? 0,
          headers: answer.headers,
          headSizeBytes: headSizeOf(answer.statusMessage ?? '', answer.rawHeaders),
          body: Buffer.concat(pieces),
          isWhole: isWhole && answer.complete,
          tookMs: performance.now() - startedAtMs,
        });
      });
    },
  );
  const timer = setTimeout(
    () => asked.destroy(new Error(`${method} ${path}: not over within ${timeoutMs} ms`)),
    timeoutMs,
  );
  asked.on('error', (error) => {
    clearTimeout(timer);
    reject(error);
  });
  asked.end(body);
  return promise;
}

/** A non-ASCII path the way a browser sends it; what is escaped already stays. */
export const escaped = (path: string): string => encodeURI(path).replace(/%25/g, '%');

function headSizeOf(statusMessage: string, rawHeaders: readonly string[]): number {
  const statusLine = `HTTP/1.1 200 ${statusMessage}\r\n`.length;
  // Names and values alternate: ": " and the line's end are two bytes each time.
  return (
    rawHeaders.reduce((sum, text) => sum + Buffer.byteLength(text, 'latin1') + 2, statusLine) + 2
  );
}
