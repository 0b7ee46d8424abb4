/**
 * The digests of a file's pieces, as torrents and Metalinks list them.
 *
 * They cost a read of the whole file, so they are made when somebody asks, once, and kept. A large
 * file takes longer than a request may wait: then the request is answered "not yet" while the work
 * goes on for as long as somebody comes back, and it ends when nobody does.
 */
import { createHash } from 'node:crypto';
import type { Log } from '@shoal/chassis';
import { CHUNK_SIZE_BYTES, DescriptionNotReady, Overloaded, type Pin } from '@shoal/protocol';
import { createLimit } from '../copy.ts';
import type { Metrics } from '../metrics.ts';
import type { PieceStore } from './piece-store.ts';

/** A piece is as large as a chunk of ours: then its sha-256 stands in the chunk's CID. */
export const PIECE_SIZE_BYTES = CHUNK_SIZE_BYTES;

/** Files that are read to be hashed at one time; others wait their turn. */
const HASHINGS_AT_ONCE_MAX = 2;
/** Files that wait or are hashed. */
const HASHINGS_MAX = 32;
/** Below the time that the gateway gives an answer to begin in. */
const WAIT_MAX_MS = 45_000;
/** Time for whoever was told "not yet" to come back in. */
const UNWANTED_MAX_MS = 60_000;

const DIGEST_SIZES_BYTES = { sha1: 20, sha256: 32 } as const;
type Algorithm = keyof typeof DIGEST_SIZES_BYTES;

export interface HashPieces {
  /**
   * The digest of each piece of a file, one after the other.
   * @param form What they are for, in the problem that says "not yet".
   * @throws DescriptionNotReady, Overloaded, BlockUnavailable
   */
  (
    pin: Pin,
    want: { readonly algorithm: Algorithm; readonly form: string },
    options: { signal: AbortSignal },
  ): Promise<Uint8Array>;
}

/** The making of one file's digests, which several may wait for. */
interface Hashing {
  readonly digests: Promise<Uint8Array>;
  readonly progress: Progress;
  readonly stop: AbortController;
  waiting: number;
  unwanted: NodeJS.Timeout | undefined;
}

interface Progress {
  hashedBytes: number;
}

/** @param signal Ends all work; whoever waits is told "not yet". */
export function createHashPieces(
  deps: {
    readonly store: PieceStore;
    /** The bytes of a file in their order, verified; each part holds until the next is asked for. */
    readonly readFile: (pin: Pin, options: { signal: AbortSignal }) => AsyncIterable<Uint8Array>;
    readonly metrics: Pick<Metrics, 'hashings'>;
    readonly log: Log;
    readonly waitMaxMs?: number;
    readonly unwantedMaxMs?: number;
  },
  { signal: running }: { signal: AbortSignal },
): HashPieces {
  const { store, metrics, log, waitMaxMs = WAIT_MAX_MS, unwantedMaxMs = UNWANTED_MAX_MS } = deps;
  const limit = createLimit(HASHINGS_AT_ONCE_MAX);
  const hashings = new Map<string, Hashing>();

  const make = async (
    { pin, algorithm, key }: { pin: Pin; algorithm: Algorithm; key: string },
    progress: Progress,
    { signal }: { signal: AbortSignal },
  ): Promise<Uint8Array> => {
    const sizeBytes = piecesOf(pin.sizeBytes) * DIGEST_SIZES_BYTES[algorithm];
    const kept = await store.read(key, sizeBytes);
    if (kept !== undefined) return kept;
    return limit(async () => {
      try {
        signal.throwIfAborted();
        const digests = await hashEach(deps.readFile(pin, { signal }), algorithm, progress);
        if (progress.hashedBytes !== pin.sizeBytes)
          throw new Error(`${progress.hashedBytes} of ${pin.sizeBytes} bytes were read`);
        await store.write(key, digests);
        metrics.hashings.inc({ outcome: 'done' });
        return digests;
      } catch (err) {
        metrics.hashings.inc({ outcome: signal.aborted ? 'unwanted' : 'failed' });
        log.debug({ err, root: pin.root, algorithm }, 'pieces not hashed');
        throw err;
      }
    });
  };
  const begin = (pin: Pin, algorithm: Algorithm, key: string): Hashing => {
    if (hashings.size >= HASHINGS_MAX)
      throw new Overloaded({ what: 'files to hash', limit: HASHINGS_MAX });
    const stop = new AbortController();
    const signal = AbortSignal.any([running, stop.signal]);
    const progress = { hashedBytes: 0 };
    const digests = make({ pin, algorithm, key }, progress, { signal });
    const hashing: Hashing = { digests, progress, stop, waiting: 0, unwanted: undefined };
    const over = () => {
      clearTimeout(hashing.unwanted);
      if (hashings.get(key) === hashing) hashings.delete(key);
    };
    digests.then(over, over); // whoever waits is told how it ended; there may be nobody
    hashings.set(key, hashing);
    return hashing;
  };
  const leave = (hashing: Hashing, key: string): void => {
    hashing.waiting -= 1;
    if (hashing.waiting > 0 || hashings.get(key) !== hashing) return;
    const giveUp = () => {
      hashings.delete(key); // who comes from now on begins anew
      hashing.stop.abort(new Error('nobody waits for the digests'));
    };
    hashing.unwanted = setTimeout(giveUp, unwantedMaxMs);
  };

  return async (pin, { algorithm, form }, { signal }) => {
    const key = `${pin.root}.${algorithm}`;
    const hashing = hashings.get(key) ?? begin(pin, algorithm, key);
    hashing.waiting += 1;
    clearTimeout(hashing.unwanted);
    const late = AbortSignal.timeout(waitMaxMs);
    try {
      return await endOf(hashing.digests, AbortSignal.any([signal, late]));
    } catch (cause) {
      signal.throwIfAborted();
      if (!late.aborted && !running.aborted) throw cause;
      const { hashedBytes } = hashing.progress;
      throw new DescriptionNotReady({ root: pin.root, form, hashedBytes }, { cause });
    } finally {
      leave(hashing, key);
    }
  };
}

/** How many pieces a file has: none when it is empty. */
export const piecesOf = (sizeBytes: number): number => Math.ceil(sizeBytes / PIECE_SIZE_BYTES);

/** Cuts a stream every piece and hashes each cut. */
async function hashEach(
  parts: AsyncIterable<Uint8Array>,
  algorithm: Algorithm,
  progress: Progress,
): Promise<Uint8Array> {
  const digests: Buffer[] = [];
  let hash = createHash(algorithm);
  let filledBytes = 0;
  const close = () => {
    digests.push(hash.digest());
    hash = createHash(algorithm);
    filledBytes = 0;
  };
  for await (const part of parts) {
    for (let rest = part; rest.length > 0;) {
      const cut = rest.subarray(0, PIECE_SIZE_BYTES - filledBytes);
      hash.update(cut);
      filledBytes += cut.length;
      rest = rest.subarray(cut.length);
      if (filledBytes === PIECE_SIZE_BYTES) close();
    }
    progress.hashedBytes += part.length;
  }
  if (filledBytes > 0) close();
  return Buffer.concat(digests);
}

/** What a promise comes to, or the signal's reason if that is first. */
async function endOf<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = Promise.withResolvers<never>();
  const onAbort = () => aborted.reject(signal.reason as Error);
  if (signal.aborted) onAbort();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
