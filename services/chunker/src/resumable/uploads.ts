/**
 * Uploads that survive their client, this service and this peer: created, gone on with, finished,
 * ended. What a client is told of one rests on its log in the data folder and on blocks that storage
 * holds under its lease; both are there again after a kill.
 *
 * The lease is renewed for as long as the upload may be gone on with. If blocks are gone all the same
 * (a lost disk), the upload steps back to the first of them and the client sends again from there.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Loops, type Place, Shares, syncFolder, type TakeOptions } from '@shoal/chassis';
import {
  DigestMismatch,
  Lease,
  ServiceUnavailable,
  UploadBusy,
  UploadExpired,
  UploadNotFound,
  type UploadReply,
} from '@shoal/protocol';
import type { IntakeDeps } from '../intake/intake.ts';
import { holdLeaves, LeafLost } from './blocks.ts';
import { type Finished, finishUpload } from './finish.ts';
import { UploadId, type UploadHead } from './log.ts';
import { receiveInto, TakenOver } from './receive.ts';
import {
  beginUpload,
  cutTo,
  holdOf,
  isWhole,
  offsetOf,
  type ResumableUpload,
  restoreUpload,
} from './upload-state.ts';

/** Leases are renewed at least this often: far below the time after which storage lets them go. */
const RENEW_INTERVAL_MAX_MS = 600_000;
/** Expired uploads are looked for at least this often. */
const TIDY_INTERVAL_MAX_MS = 60_000;
/** Longest wait of a question for a file that is being put together; below what clients wait. */
const FINISH_WAIT_MAX_MS = 20_000;
/** When others wait for its place, an upload goes that nobody wrote to for this long. */
const IDLE_MAX_MS = 5 * 60_000;
/** The same for one that has no byte yet: nothing is lost with it. */
const EMPTY_IDLE_MAX_MS = 60_000;
/** Finished uploads that are remembered, for clients that lost the last answer. */
const FINISHED_MAX = 10_000;
const LOG_SUFFIX = '.upload';
const TAIL_SUFFIX = '.tail';

export interface ResumableOptions {
  readonly folder: string;
  readonly expiresMs: number;
  /** Uploads that may be unfinished at once, shared by clients. */
  readonly openMax: number;
  readonly sizeMaxBytes: number;
  readonly loops: Loops;
}

export interface Resumables extends AsyncDisposable {
  /** Begins an upload, durably. @throws Overloaded, StorageFull */
  create(
    wanted: Pick<UploadHead, 'client' | 'id' | 'metadata' | 'sizeBytes' | 'wishes'>,
  ): Promise<void>;
  /** @throws UploadNotFound */
  find(id: string): ResumableUpload;
  peek(id: string): ResumableUpload | undefined;
  /**
   * Makes sure that what it says of itself is true: blocks that are gone are not counted, and a file
   * whose bytes are all here is kept.
   * @throws UploadNotFound, UploadExpired, UploadBusy, ServiceUnavailable
   */
  ready(id: string): Promise<ResumableUpload>;
  /** Durable once resolved. @throws StorageFull */
  declareSize(id: string, sizeBytes: number): Promise<void>;
  /** Takes in a body: one at a time for an upload, which is up to the caller. */
  receive(
    id: string,
    body: (options: { signal: AbortSignal }) => AsyncIterable<Uint8Array>,
    options: { signal: AbortSignal },
  ): Promise<ResumableUpload>;
  /** Makes the request that writes now end, as if its body had. */
  takeOver(id: string): void;
  /** Makes every request that writes end. */
  stop(): void;
  /** Keeps the file once all bytes are here, and waits for its copies. */
  finish(id: string): Promise<UploadReply>;
  /** Ends it: what was not kept is let go. @throws UploadNotFound */
  remove(id: string): Promise<void>;
  /** Ends those that were left alone too long; answers how many. */
  expire(): Promise<number>;
}

/** A name for a new upload that nobody can guess. */
export const newUploadId = (): string => randomBytes(16).toString('hex');

export async function openResumables(
  { folder, expiresMs, openMax, sizeMaxBytes, loops }: ResumableOptions,
  { stopping, ...rest }: IntakeDeps,
): Promise<Resumables> {
  const { metrics, log, peers } = rest;
  const uploads = await restoreAll(folder, rest);
  const finishing = new Map<string, Promise<Finished>>();
  const stop = new AbortController();
  const signal = AbortSignal.any([stop.signal, stopping]);
  const deps: IntakeDeps = { ...rest, stopping: signal };

  const countOpen = () => [...uploads.values()].filter(({ reply }) => reply === undefined).length;
  const tellCount = () => metrics.resumableUploads.set(countOpen());
  const find = (id: string): ResumableUpload => {
    const upload = uploads.get(id);
    if (upload === undefined) throw new UploadNotFound({ id: id.slice(0, 100) });
    return upload;
  };
  /** First its name is gone, then its blocks: what a crash leaves between storage ages out. */
  const forget = async (
    upload: ResumableUpload,
    outcome: 'expired' | 'gave-way' | 'refused' | 'removed',
  ) => {
    if (!uploads.delete(upload.id)) return;
    using _place = upload.place;
    tellCount();
    const { logPath, tailPath } = pathsOf(folder, upload.id);
    await rm(logPath, { force: true });
    await rm(tailPath, { force: true });
    syncFolder(folder);
    if (upload.reply !== undefined) return;
    metrics.resumableEnds.inc({ outcome });
    upload.progress?.now('failed');
    holdOf(upload, deps).giveUp({ mayBePinned: upload.isPinning });
  };
  const shares = new Shares({ what: 'unfinished uploads', placesMax: openMax });
  /** How it stands among those that may be unfinished: `find` gives it once it has begun. */
  const placeOptions = (id: string): TakeOptions => ({
    signal,
    mayYield() {
      const upload = uploads.get(id);
      return upload !== undefined && upload.interrupt === undefined && !finishing.has(id);
    },
    isSlow() {
      const upload = uploads.get(id);
      if (upload === undefined) return false;
      const idleMaxMs = offsetOf(upload) === 0 ? EMPTY_IDLE_MAX_MS : IDLE_MAX_MS;
      return upload.usedAtMs + idleMaxMs < Date.now();
    },
  });
  const holdPlace = (upload: ResumableUpload, place: Place): void => {
    upload.place = place;
    const giveWay = () =>
      forget(upload, 'gave-way').catch((err: unknown) =>
        log.warn({ err, upload: upload.id }, 'an upload that gave way was not removed'),
      );
    place.signal.addEventListener('abort', () => void giveWay(), { once: true });
  };
  for (const upload of uploads.values())
    if (upload.reply === undefined)
      holdPlace(upload, shares.restore(upload.log.head.client ?? '', placeOptions(upload.id)));
  const finishOnce = (upload: ResumableUpload): Promise<Finished> => {
    const underWay = finishing.get(upload.id);
    if (underWay !== undefined) return underWay;
    const begun = finishUpload(upload, deps)
      .catch(async (error: unknown) => {
        if (error instanceof DigestMismatch) await forget(upload, 'refused');
        throw error;
      })
      .finally(() => {
        finishing.delete(upload.id);
        if (upload.reply !== undefined) upload.place?.[Symbol.dispose]();
        tellCount();
      });
    begun.then(() => metrics.resumableEnds.inc({ outcome: 'kept' })).catch(() => {}); // told to whoever asked
    finishing.set(upload.id, begun);
    return begun;
  };
  const check = async (upload: ResumableUpload): Promise<void> => {
    if (upload.isChecked) return;
    try {
      await holdLeaves(upload, peers, { signal });
    } catch (error) {
      if (!(error instanceof LeafLost)) throw error;
      log.warn({ upload: upload.id, chunk: error.index }, 'chunks of an upload are gone');
      metrics.resumableStepsBack.inc();
      await cutTo(upload, error.index);
    }
    upload.isChecked = true;
  };
  const renew = async (): Promise<void> => {
    for (const upload of uploads.values()) {
      if (upload.reply !== undefined) continue;
      try {
        await holdLeaves(upload, peers, { signal });
      } catch (err) {
        if (signal.aborted) return;
        // Not cut here, beside whoever writes: the next request does it.
        if (err instanceof LeafLost) upload.isChecked = false;
        log.debug({ err, upload: upload.id }, 'lease of an upload not renewed');
      }
    }
  };
  const expire = async (): Promise<number> => {
    const isAlone = ({ id, usedAtMs, interrupt }: ResumableUpload) =>
      usedAtMs + expiresMs < Date.now() && interrupt === undefined && !finishing.has(id);
    const all = [...uploads.values()].toSorted((a, b) => b.usedAtMs - a.usedAtMs);
    const finished = all.filter(({ reply }) => reply !== undefined);
    const doomed = new Set([...all.filter(isAlone), ...finished.slice(FINISHED_MAX)]);
    for (const upload of doomed) await forget(upload, 'expired');
    return doomed.size;
  };
  const renewing = loops.start({
    name: 'resumable-leases',
    firstAfterMs: 0,
    everyMs: () => Math.min(RENEW_INTERVAL_MAX_MS, expiresMs / 4),
    run: renew,
  });
  const tidying = loops.start({
    name: 'resumable-tidying',
    firstAfterMs: 0,
    everyMs: () => Math.min(TIDY_INTERVAL_MAX_MS, expiresMs / 4),
    run: expire,
    onFailure: (err) => log.warn({ err }, 'expired uploads not removed'),
  });
  tellCount();

  return {
    async create(wanted) {
      const place = await shares.take(wanted.client ?? '', placeOptions(wanted.id));
      try {
        const head = { v: 1, lease: Lease.parse(randomUUID()), ...wanted } as const;
        const upload = await beginUpload(pathsOf(folder, wanted.id), head);
        uploads.set(wanted.id, upload);
        holdPlace(upload, place);
      } catch (error) {
        place[Symbol.dispose]();
        throw error;
      }
      tellCount();
    },
    find,
    peek: (id) => uploads.get(id),
    async ready(id) {
      const upload = find(id);
      if (upload.usedAtMs + expiresMs < Date.now()) throw new UploadExpired({ id });
      upload.usedAtMs = Date.now();
      if (upload.reply !== undefined) return upload;
      if (!finishing.has(id)) await check(upload);
      if (isWhole(upload)) {
        const late = AbortSignal.timeout(FINISH_WAIT_MAX_MS);
        await Promise.race([finishOnce(upload), failWhen(late, new UploadBusy({ id }))]);
      }
      return upload;
    },
    async declareSize(id, sizeBytes) {
      const upload = find(id);
      await upload.log.add({ sizeBytes });
      upload.sizeBytes = sizeBytes;
    },
    async receive(id, body, options) {
      const upload = find(id);
      const ended = new AbortController();
      upload.interrupt = (reason) => ended.abort(reason);
      try {
        const either = AbortSignal.any([options.signal, ended.signal]);
        await receiveInto(upload, body, deps, { sizeMaxBytes }, { signal: either });
      } finally {
        upload.interrupt = undefined;
      }
      return upload;
    },
    takeOver: (id) => uploads.get(id)?.interrupt?.(new TakenOver('another request came')),
    stop() {
      for (const { interrupt } of uploads.values())
        interrupt?.(new ServiceUnavailable({ service: 'chunker' }));
    },
    async finish(id) {
      const upload = find(id);
      if (upload.reply !== undefined) return upload.reply;
      const { settled } = await finishOnce(upload);
      return settled;
    },
    async remove(id) {
      const upload = find(id);
      await Promise.allSettled([finishing.get(id)]);
      await forget(upload, 'removed');
    },
    expire,
    async [Symbol.asyncDispose]() {
      stop.abort(new ServiceUnavailable({ service: 'chunker' }));
      const ends = [renewing, tidying].map((loop) => loop[Symbol.asyncDispose]());
      await Promise.allSettled([...ends, ...finishing.values()]);
    },
  };
}

const pathsOf = (folder: string, id: string) => ({
  logPath: join(folder, `${UploadId.parse(id)}${LOG_SUFFIX}`),
  tailPath: join(folder, `${UploadId.parse(id)}${TAIL_SUFFIX}`),
});

/** Brings back what the folder holds; what belongs to no upload is removed. */
async function restoreAll(
  folder: string,
  { log }: Pick<IntakeDeps, 'log'>,
): Promise<Map<string, ResumableUpload>> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  for (const parent of [dirname(folder), dirname(dirname(folder))]) syncFolder(parent);
  const uploads = new Map<string, ResumableUpload>();
  const unread = new Set<string>();
  const names = await readdir(folder);
  for (const name of names.filter((each) => each.endsWith(LOG_SUFFIX))) {
    const id = UploadId.safeParse(name.slice(0, -LOG_SUFFIX.length));
    if (!id.success) continue;
    try {
      const upload = await restoreUpload(pathsOf(folder, id.data));
      if (upload !== undefined) uploads.set(id.data, upload);
      else log.warn({ upload: id.data }, "an upload can't be read, it is dropped");
    } catch (err) {
      // A fault of the disk: it may be over at the next start.
      log.error({ err, upload: id.data }, "an upload can't be read, it is left as it is");
      unread.add(id.data);
    }
  }
  for (const name of names) {
    const [id = ''] = name.split('.', 1);
    const isKnown = name === `${id}${LOG_SUFFIX}` || name === `${id}${TAIL_SUFFIX}`;
    if (isKnown && (uploads.has(id) || unread.has(id))) continue;
    await rm(join(folder, name), { force: true, recursive: true }).catch((err: unknown) =>
      log.warn({ err, name }, 'what belongs to no upload is not removed'),
    );
  }
  return uploads;
}

function failWhen(signal: AbortSignal, error: Error): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(error), { once: true });
  });
}
