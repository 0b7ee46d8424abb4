/**
 * Bodies that are fetched while they are sent: files, CARs, listings. HTTP has no "oops": once the
 * first byte is out, a failure can only be shown by breaking the connection, so the end is never a
 * clean one unless every byte was sent and verified.
 */
import type { ServerResponse } from 'node:http';
import {
  type Call,
  type Log,
  type RateOptions,
  type RateWatch,
  Shares,
  watchReader,
} from '@shoal/chassis';
import { BlockAbsent, BlockUnavailable, GaveWay, type transferRoutes } from '@shoal/protocol';
import type { Flow, Piece, Pieces } from '../file/pieces.ts';
import type { Metrics } from '../metrics.ts';
import { createWindow } from './window.ts';

export interface Head {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | number>>;
}

/** A body, and what is said of it when its first bytes are here. */
export interface Body {
  readonly pieces: Pieces;
  readonly headOf: (first: Uint8Array) => Head;
  /** Its exact size; undefined when only the end tells. */
  readonly lengthBytes: number | undefined;
}

/** What is needed of a request and its answer. */
export type Exchange = Pick<
  Call<typeof transferRoutes.getIpfs.params, typeof transferRoutes.getIpfs.query, undefined>,
  'request' | 'reply' | 'signal' | 'abort'
>;

export type SendOutcome = 'complete' | 'reader-left' | 'gave-way' | 'unavailable' | 'failed';

export interface Sender {
  /**
   * Makes a body and sends it. Until its first bytes are here what fails is thrown, and the answer is
   * still the caller's; after that the outcome tells. `prepare` may answer by itself and give none.
   * @throws Overloaded, GaveWay, and what `prepare` throws.
   */
  send(
    exchange: Exchange,
    prepare: (flow: Flow) => Promise<Body | undefined>,
  ): Promise<SendOutcome>;
}

const NO_BYTES = new Uint8Array();
/** Longest wait for a reader to take what was right, before the connection is broken off. */
const FLUSH_MAX_MS = 1000;
/** How long a reader waits for others of its own client: as long as it takes to see who reads too slowly. */
const PLACE_WAIT_MS = 12_000;

export interface SenderOptions {
  /** Bodies sent at one time, shared by clients. */
  readonly bodiesMax: number;
  /** Blocks in flight over all bodies, shared out among them. */
  readonly budgetBlocks: number;
  /** Most blocks that one body asks for ahead of its reader. */
  readonly windowMaxBlocks: number;
  /** A reader that takes nothing for this long is disconnected. */
  readonly readerStallMs: number;
  /** What is too slow while others wait. */
  readonly readerRate?: RateOptions;
}

export function createSender(
  deps: { readonly metrics: Metrics; readonly log: Log },
  options: SenderOptions,
): Sender {
  const { metrics } = deps;
  const { bodiesMax: placesMax, readerRate } = options;
  const shares = new Shares({ what: 'downloads', placesMax, waitMs: PLACE_WAIT_MS });

  return {
    async send(exchange, prepare) {
      const { reply, signal } = exchange;
      const { client } = exchange.request;
      let reader: RateWatch | undefined;
      const isSlow = () => reader?.isSlow() ?? false;
      using place = await shares.take(client, { signal, isSlow });
      using watched = watchReader(reply.raw, readerRate);
      reader = watched;
      place.signal.addEventListener('abort', () => exchange.abort(place.signal.reason as Error));
      metrics.downloadsOpen.set(shares.size);
      const startedAtMs = performance.now();
      const flow = createWindow(options, () => shares.clients * shares.heldBy(client));
      try {
        const body = await prepare(flow);
        if (body === undefined) return 'complete';
        // Found before the first byte goes out: a file without its manifest is still a clean error.
        const first = await body.pieces.next();
        metrics.firstByte.observe((performance.now() - startedAtMs) / 1000);
        const head = body.headOf(first.done === true ? NO_BYTES : first.value.bytes);
        reply.hijack();
        return await pump({ ...deps, ...options }, exchange, head, first, body);
      } catch (error) {
        metrics.downloads.inc({ outcome: outcomeOf(error, signal) });
        throw error;
      } finally {
        metrics.downloadsOpen.set(shares.size - 1);
      }
    },
  };
}

/** A block between bytes of our own. It is given back as well when the reader leaves before it. */
export async function* framed(
  before: Uint8Array,
  block: Piece,
  after: Uint8Array = NO_BYTES,
): Pieces {
  let isPassedOn = false;
  try {
    yield { bytes: before, release: () => {} };
    isPassedOn = true;
    yield block;
    if (after.length > 0) yield { bytes: after, release: () => {} };
  } finally {
    if (!isPassedOn) block.release();
  }
}

/** Writes head and body. The reply is hijacked: from here on nothing else answers. */
async function pump(
  {
    metrics,
    log,
    readerStallMs,
  }: { readonly metrics: Metrics; readonly log: Log; readonly readerStallMs: number },
  { request, reply: { raw: response }, signal }: Exchange,
  head: Head,
  first: IteratorResult<Piece, void>,
  { pieces, lengthBytes }: Body,
): Promise<SendOutcome> {
  let sentBytes = 0;
  let outcome: SendOutcome = 'complete';
  const giveWay = () => {
    if (signal.reason instanceof GaveWay) response.destroy(); // a reader that takes nothing would hold us
  };
  signal.addEventListener('abort', giveWay, { once: true });
  if (signal.aborted) giveWay();
  response.setTimeout(readerStallMs, () => response.destroy());
  try {
    response.writeHead(head.status, head.headers);
    for (let turn = first; turn.done !== true; turn = await pieces.next()) {
      sentBytes += turn.value.bytes.length;
      await write(response, turn.value);
    }
    if (lengthBytes !== undefined && sentBytes !== lengthBytes)
      throw new Error(`${sentBytes} of ${lengthBytes} bytes sent`);
    response.end();
  } catch (err) {
    if (!signal.aborted) await flushed(response); // what is right goes out, the head above all
    response.destroy(); // a short body is the only honest end now
    outcome = outcomeOf(err, signal);
    const fields = { err, path: request.url.slice(0, 200), sentBytes, requestId: request.id };
    if (outcome === 'reader-left') log.debug(fields, 'reader left');
    else if (outcome === 'gave-way') log.info(fields, 'reader gave way to others');
    else log.warn(fields, 'download broken off');
  } finally {
    signal.removeEventListener('abort', giveWay);
    metrics.bytesServed.inc(sentBytes);
    await pieces.return();
  }
  metrics.downloads.inc({ outcome });
  return outcome;
}

/** Writes bytes of a pooled buffer, and gives the buffer back once the kernel has them. */
async function write(response: ServerResponse, { bytes, release }: Piece): Promise<void> {
  if (response.destroyed) {
    release();
    throw new Error('the reader left');
  }
  if (response.write(bytes, release)) return;
  await new Promise<void>((resolve) => {
    const go = () => {
      response.off('drain', go).off('close', go);
      resolve();
    };
    response.on('drain', go).on('close', go);
  });
}

/** Resolves once the kernel has what was written, the reader is gone, or takes it too slowly. */
async function flushed(response: ServerResponse): Promise<void> {
  if (response.destroyed) return;
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, FLUSH_MAX_MS);
    const go = () => {
      clearTimeout(timer);
      response.off('close', go);
      resolve();
    };
    response.on('close', go);
    response.write('', go); // nothing, behind everything else
  });
}

function outcomeOf(error: unknown, signal: AbortSignal): SendOutcome {
  if (signal.aborted) return signal.reason instanceof GaveWay ? 'gave-way' : 'reader-left';
  const isAway = error instanceof BlockUnavailable || error instanceof BlockAbsent;
  return isAway ? 'unavailable' : 'failed';
}
