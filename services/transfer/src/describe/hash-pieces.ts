/**
 * The digests of a file's pieces, as torrents and Metalinks list them.
 *
 * They cost a read of the whole file, so they are made on demand, once, and cached. A large file takes
 * longer than a request may wait: then the request is answered "not yet" while the work goes on for as
 * long as clients come back, and it ends when none does.
 *
 * Clients share the places, those to wait in and those to be hashed in. Hashing that nobody waits for right now
 * gives way first; work that was begun has a minute before it gives way to a client that has none.
 */
import { createHash } from 'node:crypto';
import { type Log, orAborted, type Place, Shares } from '@shoal/chassis';
import { CHUNK_SIZE_BYTES, DescriptionNotReady, type Pin } from '@shoal/protocol';
import type { Metrics } from '../metrics.ts';
import type { PieceStore } from './piece-store.ts';

/** A piece is as large as a chunk of ours: then its sha-256 is in the chunk's CID. */
export const PIECE_SIZE_BYTES = CHUNK_SIZE_BYTES;

/** Files that are read to be hashed at once; others wait their turn. */
const HASHINGS_AT_ONCE_MAX = 2;
/** Files that wait or are hashed. */
const HASHINGS_MAX = 32;
/** Time that a file which is being hashed has, when a client with fewer waits. */
const HASHING_GRACE_MS = 60_000;
/** Longest wait for a turn; its callers were answered "not yet" long before. */
const TURN_WAIT_MAX_MS = 24 * 3_600_000;
/** Below the gateway's time-out for the head of an answer. */
const WAIT_MAX_MS = 45_000;
/** Time for clients that were answered "not yet" to come back in. */
const UNWANTED_MAX_MS = 60_000;

const DIGEST_SIZES_BYTES = { sha1: 20, sha256: 32 } as const;
type Algorithm = keyof typeof DIGEST_SIZES_BYTES;

export interface HashPieces {
  /**
   * The digest of each piece of a file, one after the other.
   * @param form What they are for, in the problem that says "not yet".
   * @throws DescriptionNotReady, Overloaded, GaveWay, BlockUnavailable
   */
  (
    pin: Pin,
    want: {
      readonly algorithm: Algorithm;
      readonly form: string;
      /** Whose share it is of, when nobody else wants it already. */
      readonly client: string;
    },
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

interface Order {
  readonly pin: Pin;
  readonly algorithm: Algorithm;
  readonly key: string;
  readonly client: string;
}

interface Progress {
  hashedBytes: number;
}

/** @param signal Ends all work; callers that wait are answered "not yet". */
export function createHashPieces(
  deps: {
    readonly store: PieceStore;
    /** The bytes of a file in their order, verified; each part holds until the next is asked for. */
    readonly readFile: (pin: Pin, options: { signal: AbortSignal }) => AsyncIterable<Uint8Array>;
    readonly metrics: Pick<Metrics, 'hashings'>;
    readonly log: Log;
    readonly waitMaxMs?: number;
    readonly unwantedMaxMs?: number;
    readonly graceMs?: number;
  },
  { signal: running }: { signal: AbortSignal },
): HashPieces {
  const { store, metrics, log, waitMaxMs = WAIT_MAX_MS, unwantedMaxMs = UNWANTED_MAX_MS } = deps;
  const shares = new Shares({ what: 'files to hash', placesMax: HASHINGS_MAX });
  const turns = new Shares({
    what: 'files being hashed',
    placesMax: HASHINGS_AT_ONCE_MAX,
    waitingMax: HASHINGS_MAX,
    waitMs: TURN_WAIT_MAX_MS,
    graceMs: deps.graceMs ?? HASHING_GRACE_MS,
  });
  const hashings = new Map<string, Hashing>();

  const make = async (
    { pin, algorithm, key, client }: Order,
    { progress, stop, isSlow }: Pick<Hashing, 'progress' | 'stop'> & { isSlow: () => boolean },
    { signal }: { signal: AbortSignal },
  ): Promise<Uint8Array> => {
    const endWith = (place: Place) =>
      place.signal.addEventListener('abort', () => stop.abort(place.signal.reason));
    using place = await shares.take(client, { signal, isSlow });
    endWith(place);
    const sizeBytes = piecesOf(pin.sizeBytes) * DIGEST_SIZES_BYTES[algorithm];
    const cached = await store.read(key, sizeBytes);
    if (cached !== undefined) return cached;
    try {
      using turn = await turns.take(client, { signal, isSlow });
      endWith(turn);
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
  };
  const begin = (order: Order): Hashing => {
    const stop = new AbortController();
    const signal = AbortSignal.any([running, stop.signal]);
    const work = { progress: { hashedBytes: 0 }, stop };
    let hashing: Hashing | undefined;
    // From here on it has a waiter.
    const isSlow = () => hashing?.waiting === 0;
    const digests = make(order, { ...work, isSlow }, { signal });
    hashing = { ...work, digests, waiting: 0, unwanted: undefined };
    const begun = hashing;
    const over = () => {
      clearTimeout(begun.unwanted);
      if (hashings.get(order.key) === begun) hashings.delete(order.key);
    };
    digests.then(over, over); // callers that wait get the outcome themselves; there may be none
    hashings.set(order.key, begun);
    return begun;
  };
  const leave = (hashing: Hashing, key: string): void => {
    hashing.waiting -= 1;
    if (hashing.waiting > 0 || hashings.get(key) !== hashing) return;
    const giveUp = () => {
      hashings.delete(key); // the next caller begins anew
      hashing.stop.abort(new Error('nobody waits for the digests'));
    };
    hashing.unwanted = setTimeout(giveUp, unwantedMaxMs);
  };

  return async (pin, { algorithm, form, client }, { signal }) => {
    const key = `${pin.root}.${algorithm}`;
    const hashing = hashings.get(key) ?? begin({ pin, algorithm, key, client });
    hashing.waiting += 1;
    clearTimeout(hashing.unwanted);
    const late = AbortSignal.timeout(waitMaxMs);
    try {
      return await orAborted(hashing.digests, AbortSignal.any([signal, late]));
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
