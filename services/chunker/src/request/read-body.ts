/**
 * A file as a whole body; and reading a body: piece by piece, with backpressure from storage; ended when the sender is gone or
 * too slow.
 *
 * Pieces are taken from `data` events. `for await` over the stream would destroy it, and with it the
 * socket that the answer must still go over, as soon as the loop is left.
 */
import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import type { Attributes } from '@shoal/blocks';
import { createRateRule, type RateWatch, watchSender } from '@shoal/chassis';
import {
  BodyIncomplete,
  BodyTooSlow,
  RequestInvalid,
  type Sha256,
  type UploadQuery,
} from '@shoal/protocol';
import type { FastifyRequest } from 'fastify';

/** Pieces waiting here past this size stop the stream: a few socket reads. */
const QUEUED_BYTES_MAX = 256 * 1024;

/** A file that is about to come in. */
export interface IncomingFile {
  readonly name: string;
  /** Copies of each block to keep. */
  readonly replicas: number;
  /** Copies to wait for. */
  readonly copies: number;
  /** Expiry (wall clock, ms); undefined: never. */
  readonly expiresAtMs: number | undefined;
  readonly expectedSha256: Sha256 | undefined;
  readonly attributes?: Attributes | undefined;
  /** Its bytes, until `signal` fires. */
  readonly body: (options: { signal: AbortSignal }) => AsyncIterable<Uint8Array>;
}

export type FileWishes = Pick<
  IncomingFile,
  'replicas' | 'copies' | 'expiresAtMs' | 'expectedSha256' | 'attributes'
>;

/** The pieces of a request's whole body. @throws BodyIncomplete */
export function rawBody(
  { raw, headers }: FastifyRequest,
  { signal }: { signal: AbortSignal },
): AsyncIterable<Uint8Array> {
  const length = headers['content-length'];
  const expectedBytes = length === undefined ? undefined : Number(length);
  return readStream(raw, { signal, expectedBytes });
}

/** A request whose whole body is the file. */
export async function* rawFile(
  request: FastifyRequest,
  wishes: FileWishes & { readonly name: string },
): AsyncGenerator<IncomingFile> {
  yield { ...wishes, body: (options) => rawBody(request, options) };
}

/** @throws RequestInvalid for a time that is over: the file would be gone before it is there. */
export function expiryOf({ expiresAt }: Pick<UploadQuery, 'expiresAt'>): number | undefined {
  if (expiresAt === undefined) return undefined;
  const expiresAtMs = Date.parse(expiresAt);
  if (expiresAtMs > Date.now()) return expiresAtMs;
  throw new RequestInvalid({ reason: `expiresAt=${expiresAt} is in the past` });
}

/**
 * The pieces of a stream, in order. Leaves the stream paused, not destroyed, when it is given up.
 * @throws BodyIncomplete when the stream ends before its time; whatever `signal` or the stream says.
 */
export async function* readStream(
  stream: Readable,
  { signal, expectedBytes }: { signal: AbortSignal; expectedBytes?: number | undefined },
): AsyncGenerator<Uint8Array, void, undefined> {
  let pieces: Uint8Array[] = [];
  let queuedBytes = 0;
  let receivedBytes = 0;
  let hasEnded = stream.readableEnded;
  let failure: { readonly reason: unknown } | undefined;
  let wake: (() => void) | undefined;

  const onData = (piece: Uint8Array) => {
    pieces.push(piece);
    queuedBytes += piece.length;
    receivedBytes += piece.length;
    if (queuedBytes >= QUEUED_BYTES_MAX) stream.pause();
    wake?.();
  };
  const onEnd = () => {
    hasEnded = true;
    wake?.();
  };
  const fail = (reason: unknown) => {
    failure ??= { reason };
    wake?.();
  };
  const onClose = () => {
    if (!hasEnded) fail(new BodyIncomplete({ receivedBytes, expectedBytes }));
  };
  const onError = (error: NodeJS.ErrnoException) =>
    error.code === 'ECONNRESET' ? onClose() : fail(error);
  const onAbort = () => fail(signal.reason);

  stream.on('data', onData).on('end', onEnd).on('error', onError).on('close', onClose);
  signal.addEventListener('abort', onAbort);
  if (signal.aborted) onAbort();
  if (stream.destroyed) onClose();
  try {
    for (;;) {
      // The rest of a body that failed is not wanted.
      if (failure !== undefined) throw failure.reason;
      if (pieces.length > 0) {
        const ready = pieces;
        pieces = [];
        queuedBytes = 0;
        yield* ready;
      } else if (hasEnded) {
        return;
      } else {
        const more = new Promise<void>((resolve) => {
          wake = resolve;
        });
        stream.resume();
        await more;
        wake = undefined;
      }
    }
  } finally {
    stream.off('data', onData).off('end', onEnd).off('close', onClose);
    // A stream that is given up may still fail: that must not end the process.
    if (hasEnded) stream.off('error', onError);
    signal.removeEventListener('abort', onAbort);
    if (!hasEnded) stream.pause();
  }
}

/**
 * Watches how a request's body moves, and calls `onSlow` when it is slower than the rule allows, `onTooLong` when it is
 * longer than it may be; what it gives tells whether it is too slow to keep its place while others wait.
 */
export function watchRate(
  raw: IncomingMessage,
  {
    bytesPerSecondMin,
    windowMs,
    bodyMaxBytes = Infinity,
    onTooLong,
  }: {
    readonly bytesPerSecondMin: number;
    readonly windowMs: number;
    readonly bodyMaxBytes?: number;
    readonly onTooLong?: () => void;
  },
  onSlow: (problem: InstanceType<typeof BodyTooSlow>) => void,
): RateWatch {
  const rule = createRateRule({ bytesPerSecondMin, windowMs, startedAtMs: performance.now() });
  let isOver = false;
  return watchSender(raw, {
    onSample(sample) {
      if (isOver) return;
      if (sample.receivedBytes > bodyMaxBytes) {
        isOver = true;
        onTooLong?.();
      } else if (rule.isTooSlow(sample)) {
        isOver = true;
        onSlow(new BodyTooSlow({ bytesPerSecondMin }));
      }
    },
  });
}
