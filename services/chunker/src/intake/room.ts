/**
 * Whether a file fits, asked before its body is read: an hour of upload must not end in a refusal
 * that its first header could have had. Storage has the last word on each block all the same, so a
 * figure that is half a second old, or none, does no harm here.
 */
import { type Log, orAborted, type PeerClient } from '@shoal/chassis';
import { KiB, MiB, StorageFull, storageRoutes, type StorageStats } from '@shoal/protocol';
import type { FastifyRequest } from 'fastify';
import type { Members } from './members.ts';

/** Age at which storage is asked again: many small uploads share one answer. */
const STATS_AGE_MAX_MS = 500;
const STATS_TIMEOUT_MS = 1000;
/** Longest wait for storage to make room: it looks at all that it holds, and sweeps. */
const MAKE_ROOM_TIMEOUT_MS = 60_000;
/** Overhead of a form: boundaries and the headers of its parts. */
export const FORM_OVERHEAD_BYTES = 64 * KiB;
/** Room that another peer must have to be named, however little is needed: a block. */
const ROOM_MIN_BYTES = MiB;
/** The limit that is named when storage does not say which one is reached. */
const LIMIT_DEFAULT = 'room for uploads';

export interface Room {
  /**
   * Whether something may be taken in now, before its body is read.
   * @throws StorageFull when this many bytes certainly do not fit here; ClockWrong; IdentityInUse
   */
  check(neededBytes: number | undefined, options: { signal: AbortSignal }): Promise<void>;
  /** The same refusal, which now says which other peers have room for that much. */
  nameOthers(
    refusal: InstanceType<typeof StorageFull>,
    neededBytes: number | undefined,
    options: { signal: AbortSignal },
  ): Promise<InstanceType<typeof StorageFull>>;
}

export function createRoom({
  client,
  members,
  stopping,
  log,
}: {
  readonly client: PeerClient;
  readonly members: Members;
  readonly stopping: AbortSignal;
  readonly log: Log;
}): Room {
  let known: StorageStats | undefined;
  let askedAtMs = -Infinity;
  /** Single-flight: uploads that begin together wait for one answer. */
  let asking: Promise<void> | undefined;

  const ask = async (): Promise<void> => {
    try {
      const options = { signal: stopping, timeoutMs: STATS_TIMEOUT_MS };
      known = await client.call(client.own('storage'), storageRoutes.stats, {}, options);
      askedAtMs = performance.now();
    } catch (err) {
      log.debug({ err }, 'free space unknown, relying on storage');
      known = undefined;
    } finally {
      asking = undefined;
    }
  };
  const stats = async ({ signal }: { signal: AbortSignal }): Promise<StorageStats | undefined> => {
    if (performance.now() - askedAtMs < STATS_AGE_MAX_MS) return known;
    asking ??= ask();
    await orAborted(asking, signal);
    return known;
  };
  /** Deleted files go before an upload is refused. */
  const makeRoom = async (
    neededBytes: number,
    { signal }: { signal: AbortSignal },
  ): Promise<StorageStats | undefined> => {
    try {
      return await client.call(
        client.own('storage'),
        storageRoutes.makeRoom,
        { body: { neededBytes } },
        { signal, timeoutMs: MAKE_ROOM_TIMEOUT_MS },
      );
    } catch (err) {
      signal.throwIfAborted();
      log.debug({ err }, 'no room made');
      return undefined;
    }
  };
  return {
    async check(neededBytes, options) {
      await members.checkWritable(options);
      if (neededBytes === undefined) return;
      const now = await stats(options);
      if (now === undefined || neededBytes <= now.freeBytes) return;
      const made = await makeRoom(neededBytes, options);
      if (made !== undefined && neededBytes <= made.freeBytes) return;
      const { limit = LIMIT_DEFAULT, freeBytes } = made ?? now;
      throw new StorageFull({ limit, freeBytes });
    },
    async nameOthers(refusal, neededBytes, options) {
      const others = await members.withRoom(Math.max(neededBytes ?? 0, ROOM_MIN_BYTES), options);
      if (others === undefined) return refusal;
      return new StorageFull({ ...refusal.fields, peersWithRoom: others }, { cause: refusal });
    },
  };
}

/** The least that this request's files need, by its head; undefined when that does not say. */
export function neededBytesOf(request: FastifyRequest): number | undefined {
  const length = request.headers['content-length'];
  if (length === undefined) return undefined;
  return request.isMultipart() ? Number(length) - FORM_OVERHEAD_BYTES : Number(length);
}
