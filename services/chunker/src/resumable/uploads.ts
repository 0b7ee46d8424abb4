/**
 * Uploads that survive their client, this service and this peer: created, resumed, finished, ended. What
 * a client hears of one rests on its log in the data folder and on blocks that storage holds under its
 * lease; both are there again after a kill.
 *
 * The lease is renewed for as long as the upload may be resumed. If blocks are gone all the same
 * (a lost disk), the upload steps back to the first of them and the client sends again from there.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import {
  type Loop,
  type Loops,
  type Place,
  Shares,
  syncFolder,
  type TakeOptions,
  orAborted,
} from '@shoal/chassis';
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
import type { UploadHead } from './log.ts';
import { receiveInto } from './receive.ts';
import { pathsOf, restoreAll } from './folder.ts';
import { beginUpload, type ResumableUpload, TakenOver } from './upload-state.ts';

/** Leases are renewed at least this often: far below the time after which storage lets them go. */
const RENEW_INTERVAL_MAX_MS = 600_000;
/** Expired uploads are looked for at least this often. */
const TIDY_INTERVAL_MAX_MS = 60_000;
/** Longest wait of a question for a file that is being put together; below what clients wait. */
const FINISH_WAIT_MAX_MS = 20_000;
/** When others wait for its place, an upload that was idle this long gives way. */
const IDLE_MAX_MS = 5 * 60_000;
/** The same for one that has no byte yet: nothing is lost with it. */
const EMPTY_IDLE_MAX_MS = 60_000;
/** Finished uploads that are remembered, for clients that lost the last answer. */
const FINISHED_MAX = 10_000;

export interface ResumableOptions {
  readonly folder: string;
  readonly expiresMs: number;
  /** Uploads that may be unfinished at once, shared by clients. */
  readonly openMax: number;
  readonly sizeMaxBytes: number;
  readonly loops: Loops;
}

/** A name for a new upload that nobody can guess. */
export const newUploadId = (): string => randomBytes(16).toString('hex');

type Outcome = 'expired' | 'gave-way' | 'refused' | 'removed';

/** Opens those that an earlier process left in the folder. */
export async function openResumables(
  options: ResumableOptions,
  deps: IntakeDeps,
): Promise<Resumables> {
  return new Resumables(await restoreAll(options.folder, deps), options, deps);
}

/** Those whose last byte did not come yet, and those that did not long ago. */
export class Resumables implements AsyncDisposable {
  readonly #options: ResumableOptions;
  readonly #deps: IntakeDeps;
  readonly #stop = new AbortController();
  readonly #signal: AbortSignal;
  readonly #uploads: Map<string, ResumableUpload>;
  /** The places of those that are unfinished. */
  readonly #places = new Map<string, Place>();
  readonly #shares: Shares;
  readonly #finishing = new Map<string, Promise<Finished>>();
  readonly #upkeep: readonly Loop[];

  /** Use `openResumables`. */
  constructor(
    uploads: Map<string, ResumableUpload>,
    options: ResumableOptions,
    { stopping, ...deps }: IntakeDeps,
  ) {
    this.#uploads = uploads;
    this.#options = options;
    this.#signal = AbortSignal.any([this.#stop.signal, stopping]);
    this.#deps = { ...deps, stopping: this.#signal };
    this.#shares = new Shares({ what: 'unfinished uploads', placesMax: options.openMax });
    for (const { id, reply, log } of uploads.values())
      if (reply === undefined)
        this.#holdPlace(id, this.#shares.restore(log.head.client ?? '', this.#placeOptions(id)));
    const { expiresMs, loops } = options;
    this.#upkeep = [
      loops.start({
        name: 'resumable-leases',
        firstAfterMs: 0,
        everyMs: () => Math.min(RENEW_INTERVAL_MAX_MS, expiresMs / 4),
        run: () => this.#renew(),
      }),
      loops.start({
        name: 'resumable-tidying',
        firstAfterMs: 0,
        everyMs: () => Math.min(TIDY_INTERVAL_MAX_MS, expiresMs / 4),
        run: () => this.expire(),
        onFailure: (err) => this.#deps.log.warn({ err }, 'expired uploads not removed'),
      }),
    ];
    this.#showCount();
  }

  /** Begins an upload, durably. @throws Overloaded, StorageFull */
  async create(
    wanted: Pick<UploadHead, 'client' | 'id' | 'metadata' | 'sizeBytes' | 'wishes'>,
  ): Promise<void> {
    const { id, client = '' } = wanted;
    const place = await this.#shares.take(client, this.#placeOptions(id));
    try {
      const head = { v: 1, lease: Lease.parse(randomUUID()), ...wanted } as const;
      this.#uploads.set(id, await beginUpload(pathsOf(this.#options.folder, id), head));
      this.#holdPlace(id, place);
    } catch (error) {
      place[Symbol.dispose]();
      throw error;
    }
    this.#showCount();
  }

  /** @throws UploadNotFound */
  find(id: string): ResumableUpload {
    const upload = this.#uploads.get(id);
    if (upload === undefined) throw new UploadNotFound({ id: id.slice(0, 100) });
    return upload;
  }

  peek(id: string): ResumableUpload | undefined {
    return this.#uploads.get(id);
  }

  /**
   * Makes sure that what it says of itself is true: blocks that are gone are not counted, and a file
   * whose bytes are all here is pinned.
   * @throws UploadNotFound, UploadExpired, UploadBusy, ServiceUnavailable
   */
  async ready(id: string): Promise<ResumableUpload> {
    const upload = this.find(id);
    if (upload.usedAtMs + this.#options.expiresMs < Date.now()) throw new UploadExpired({ id });
    upload.usedAtMs = Date.now();
    if (upload.reply !== undefined) return upload;
    if (!this.#finishing.has(id)) await this.#check(upload);
    if (upload.isWhole) {
      const late = AbortSignal.timeout(FINISH_WAIT_MAX_MS);
      await orAborted(this.#finishOnce(upload), late, new UploadBusy({ id }));
    }
    return upload;
  }

  /** Durable once resolved. @throws StorageFull */
  async declareSize(id: string, sizeBytes: number): Promise<void> {
    await this.find(id).declareSize(sizeBytes);
  }

  /** Takes in a body: one at a time for an upload, which is up to the caller. */
  async receive(
    id: string,
    body: (options: { signal: AbortSignal }) => AsyncIterable<Uint8Array>,
    { signal }: { signal: AbortSignal },
  ): Promise<ResumableUpload> {
    const upload = this.find(id);
    const { sizeMaxBytes } = this.#options;
    await upload.write((writer) => {
      const either = AbortSignal.any([signal, writer.signal]);
      return receiveInto(upload, body, this.#deps, { sizeMaxBytes }, { signal: either });
    });
    return upload;
  }

  /** Makes the request that writes now end, as if its body had. */
  takeOver(id: string): void {
    this.#uploads.get(id)?.interrupt(new TakenOver('another request came'));
  }

  /** Makes every request that writes end. */
  stop(): void {
    for (const upload of this.#uploads.values())
      upload.interrupt(new ServiceUnavailable({ service: 'chunker' }));
  }

  /** Pins the file once all bytes are here, and waits for its copies. @throws as `finishUpload` */
  async finish(id: string): Promise<UploadReply> {
    const upload = this.find(id);
    if (upload.reply !== undefined) return upload.reply;
    const { confirmed } = await this.#finishOnce(upload);
    return confirmed;
  }

  /** Ends it: blocks that are not pinned are released. @throws UploadNotFound */
  async remove(id: string): Promise<void> {
    const upload = this.find(id);
    await Promise.allSettled([this.#finishing.get(id)]);
    await this.#forget(upload, 'removed');
  }

  /** Ends those that were left alone too long; answers how many. */
  async expire(): Promise<number> {
    const all = [...this.#uploads.values()].toSorted((a, b) => b.usedAtMs - a.usedAtMs);
    const finished = all.filter(({ reply }) => reply !== undefined);
    const leftAlone = all.filter(
      (upload) => upload.usedAtMs + this.#options.expiresMs < Date.now() && this.#isIdle(upload),
    );
    const doomed = new Set([...leftAlone, ...finished.slice(FINISHED_MAX)]);
    for (const upload of doomed) await this.#forget(upload, 'expired');
    return doomed.size;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new ServiceUnavailable({ service: 'chunker' }));
    const ends = this.#upkeep.map((loop) => loop[Symbol.asyncDispose]());
    await Promise.allSettled([...ends, ...this.#finishing.values()]);
  }

  #isIdle(upload: ResumableUpload): boolean {
    return !upload.isBeingWritten && !this.#finishing.has(upload.id);
  }

  #showCount(): void {
    const open = [...this.#uploads.values()].filter(({ reply }) => reply === undefined);
    this.#deps.metrics.resumableUploads.set(open.length);
  }

  /** How an upload competes for its place. */
  #placeOptions(id: string): TakeOptions {
    return {
      signal: this.#signal,
      mayYield: () => {
        const upload = this.#uploads.get(id);
        return upload !== undefined && this.#isIdle(upload);
      },
      isSlow: () => {
        const upload = this.#uploads.get(id);
        if (upload === undefined) return false;
        const idleMaxMs = upload.offset === 0 ? EMPTY_IDLE_MAX_MS : IDLE_MAX_MS;
        return upload.usedAtMs + idleMaxMs < Date.now();
      },
    };
  }

  #holdPlace(id: string, place: Place): void {
    this.#places.set(id, place);
    const giveWay = () =>
      this.#forget(this.peek(id), 'gave-way').catch((err: unknown) =>
        this.#deps.log.warn({ err, upload: id }, 'an upload that gave way was not removed'),
      );
    place.signal.addEventListener('abort', () => void giveWay(), { once: true });
  }

  #leavePlace(id: string): void {
    this.#places.get(id)?.[Symbol.dispose]();
    this.#places.delete(id);
  }

  /** First its name is gone, then its blocks: what a crash leaves between storage ages out. */
  async #forget(upload: ResumableUpload | undefined, outcome: Outcome): Promise<void> {
    if (upload === undefined || !this.#uploads.delete(upload.id)) return;
    const { id } = upload;
    this.#showCount();
    try {
      const { logPath, tailPath } = pathsOf(this.#options.folder, id);
      await rm(logPath, { force: true });
      await rm(tailPath, { force: true });
      syncFolder(this.#options.folder);
      if (upload.reply !== undefined) return;
      this.#deps.metrics.resumableEnds.inc({ outcome });
      upload.giveUp(this.#deps);
    } finally {
      this.#leavePlace(id);
    }
  }

  /** Single-flight for an upload: a client that comes again waits for the same end. */
  #finishOnce(upload: ResumableUpload): Promise<Finished> {
    const { id } = upload;
    const underWay = this.#finishing.get(id);
    if (underWay !== undefined) return underWay;
    const begun = finishUpload(upload, this.#deps)
      .catch(async (error: unknown) => {
        if (error instanceof DigestMismatch) await this.#forget(upload, 'refused');
        throw error;
      })
      .finally(() => {
        this.#finishing.delete(id);
        if (upload.reply !== undefined) this.#leavePlace(id);
        this.#showCount();
      });
    begun.then(
      () => this.#deps.metrics.resumableEnds.inc({ outcome: 'kept' }),
      () => {}, // its callers hear of it
    );
    this.#finishing.set(id, begun);
    return begun;
  }

  /** Makes sure, once, that storage has the chunks that an earlier process wrote down. */
  async #check(upload: ResumableUpload): Promise<void> {
    if (upload.isChecked) return;
    const { client, log, metrics } = this.#deps;
    try {
      await holdLeaves(upload, client, { signal: this.#signal });
    } catch (error) {
      if (!(error instanceof LeafLost)) throw error;
      log.warn({ upload: upload.id, chunk: error.index }, 'chunks of an upload are gone');
      metrics.resumableStepsBack.inc();
      await upload.cutTo(error.index);
    }
    upload.isChecked = true;
  }

  async #renew(): Promise<void> {
    const { client, log } = this.#deps;
    for (const upload of this.#uploads.values()) {
      if (upload.reply !== undefined) continue;
      try {
        await holdLeaves(upload, client, { signal: this.#signal });
      } catch (err) {
        if (this.#signal.aborted) return;
        // Not cut here, beside a request that writes: the next request does it.
        if (err instanceof LeafLost) upload.isChecked = false;
        log.debug({ err, upload: upload.id }, 'lease of an upload not renewed');
      }
    }
  }
}
