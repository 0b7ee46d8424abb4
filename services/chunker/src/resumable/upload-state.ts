/**
 * One upload that may be resumed, as this process knows it. Its truth is the log and the tail: what
 * changes is written there first.
 *
 *   receiving → pinning → kept
 *
 * Once a pin may exist it stays `pinning` until it is known to: bytes may still be lost and come again
 * then, but its blocks are not given up any more.
 */
import assert from 'node:assert/strict';
import { CHUNK_SIZE_BYTES, type Cid, UploadNotFound, type UploadReply } from '@shoal/protocol';
import { openHold } from '../intake/hold.ts';
import type { Held, IntakeDeps } from '../intake/intake.ts';
import { createFileHash, type FileHash } from './hash.ts';
import { createLeaves, type Leaves } from './leaves.ts';
import { createLog, openLog, type UploadEvent, type UploadHead, type UploadLog } from './log.ts';
import { readTail, removeTail, type Tail, writeTail } from './tail.ts';

type Phase =
  | { readonly kind: 'receiving' | 'pinning' }
  | { readonly kind: 'kept'; readonly reply: UploadReply };

/** Another request for the same upload came: this one ends as if its body had. */
export class TakenOver extends Error {}

export class ResumableUpload {
  readonly log: UploadLog;
  readonly hash: FileHash = createFileHash();
  /** Wall clock of the last byte or question; what is left alone too long expires. */
  usedAtMs = Date.now();
  /** Whether this process made sure that storage has the chunks that were written down. */
  isChecked: boolean;
  readonly #tailPath: string;
  #phase: Phase = { kind: 'receiving' };
  #leaves = createLeaves();
  /** Chunks of an earlier process: copies of them were not asked for by this one. */
  #uncopiedLeaves = 0;
  #tail: Tail | undefined;
  #sizeBytes: number | undefined;
  #held: Held | undefined;
  #writer: { readonly stop: AbortController; readonly done: Promise<void> } | undefined;

  /** A new upload, or one that `restore` then fills. */
  constructor(log: UploadLog, tailPath: string, { isNew }: { readonly isNew: boolean }) {
    this.log = log;
    this.#tailPath = tailPath;
    this.#sizeBytes = log.head.sizeBytes;
    this.isChecked = isNew;
  }

  get id(): string {
    return this.log.head.id;
  }

  get wishes(): UploadHead['wishes'] {
    return this.log.head.wishes;
  }

  /** Undefined until the sender states it. */
  get sizeBytes(): number | undefined {
    return this.#sizeBytes;
  }

  /** Chunks that are durable in storage, in order; all are whole but the last of a complete file. */
  get leaves(): Pick<Leaves, 'at' | 'count' | 'slice'> {
    return this.#leaves;
  }

  /** How many bytes are durable: where a client resumes. */
  get offset(): number {
    if (this.#phase.kind === 'kept') return this.#phase.reply.sizeBytes;
    const bytes = this.#leaves.count * CHUNK_SIZE_BYTES + (this.#validTail?.sizeBytes ?? 0);
    return this.#sizeBytes === undefined ? bytes : Math.min(bytes, this.#sizeBytes);
  }

  /** Whether every byte of it is here. */
  get isWhole(): boolean {
    return this.offset === this.#sizeBytes;
  }

  /** Whether a pin of the file may exist. */
  get mayBePinned(): boolean {
    return this.#phase.kind !== 'receiving';
  }

  /** The file is pinned, and this is what is known of it. */
  get reply(): UploadReply | undefined {
    return this.#phase.kind === 'kept' ? this.#phase.reply : undefined;
  }

  get isBeingWritten(): boolean {
    return this.#writer !== undefined;
  }

  /** Holds its blocks until its pin does, and reports progress to its watchers. */
  held(deps: Pick<IntakeDeps, 'leases' | 'progressEvents' | 'replicator'>): Held {
    if (this.#held === undefined) {
      const { lease } = this.log.head;
      const { name = this.id, replicas } = this.wishes;
      const progress = deps.progressEvents.open(name);
      progress.received(this.offset);
      this.#held = { hold: openHold(deps, { replicas, lease }), progress };
    }
    return this.#held;
  }

  /** Ends what is under way for it; its blocks go unless a pin may reach them. */
  giveUp(deps: Pick<IntakeDeps, 'leases' | 'replicator'>): void {
    assert.notEqual(this.#phase.kind, 'kept', 'what is pinned is not given up');
    this.interrupt(new UploadNotFound({ id: this.id }));
    this.#held?.progress.now('failed');
    const { lease } = this.log.head;
    const hold = this.#held?.hold ?? openHold(deps, { replicas: this.wishes.replicas, lease });
    hold.giveUp({ mayBePinned: this.mayBePinned, after: Promise.resolve(this.#writer?.done) });
  }

  /** Runs the one request that writes now; `interrupt` ends it. */
  async write(work: (options: { signal: AbortSignal }) => Promise<void>): Promise<void> {
    assert(!this.isBeingWritten, 'an upload has one writer');
    const stop = new AbortController();
    const { promise: done, resolve } = Promise.withResolvers<void>();
    this.#writer = { stop, done };
    try {
      await work({ signal: stop.signal });
    } finally {
      this.#writer = undefined;
      resolve();
    }
  }

  interrupt(reason: Error): void {
    this.#writer?.stop.abort(reason);
  }

  /** Durable once resolved. @throws StorageFull */
  async declareSize(sizeBytes: number): Promise<void> {
    await this.log.add({ sizeBytes });
    this.#sizeBytes = sizeBytes;
  }

  /** Writes down chunks that are durable in storage. @throws StorageFull */
  async addLeaves(cids: readonly Cid[]): Promise<void> {
    this.#assertUnfinished();
    await this.log.addLeaves(cids);
    for (const cid of cids) this.#leaves.push(cid);
    this.usedAtMs = Date.now();
  }

  /** The bytes behind the last whole chunk; undefined when there are none. */
  async readTail(): Promise<Uint8Array | undefined> {
    const tail = await readTail(this.#tailPath);
    return tail?.afterLeaves === this.#leaves.count ? tail.bytes : undefined;
  }

  /** Durable once resolved. @throws StorageFull */
  async writeTail(bytes: Uint8Array): Promise<void> {
    this.#assertUnfinished();
    assert(bytes.length > 0 && bytes.length < CHUNK_SIZE_BYTES, 'a tail is a part of a chunk');
    this.#tail = await writeTail(this.#tailPath, this.#leaves.count, bytes);
  }

  /** Removes a tail that became a chunk. */
  async dropOldTail(): Promise<void> {
    if (this.#tail === undefined || this.#validTail !== undefined) return;
    this.#tail = undefined;
    await removeTail(this.#tailPath);
  }

  /** Forgets the chunks from this one on: they are gone, and the client sends them again. */
  async cutTo(count: number): Promise<void> {
    this.#assertUnfinished();
    assert(count <= this.#leaves.count, 'there are no chunks to cut');
    await removeTail(this.#tailPath); // first: it must not fit again when as many chunks are back
    this.#tail = undefined;
    await this.log.add({ leaves: count });
    this.#leaves.cut(count);
    this.hash.cutTo(count);
    this.#uncopiedLeaves = Math.min(this.#uncopiedLeaves, count);
  }

  /** The chunks that nobody asked copies of since this process began, each once. */
  *takeUncopiedLeaves(): Generator<Cid, void, undefined> {
    for (let index = 0; index < this.#uncopiedLeaves; index += 1) yield this.#leaves.at(index);
    this.#uncopiedLeaves = 0;
  }

  /** From here on a pin may exist. Durable once resolved. @throws StorageFull */
  async beginPinning(): Promise<void> {
    this.#assertUnfinished();
    assert(this.isWhole, 'a file is pinned once it is whole');
    await this.log.add({ isPinning: true });
    this.#phase = { kind: 'pinning' };
  }

  /** The file is pinned, or more is known of its copies. @throws StorageFull when it could not be written down */
  async keep(reply: UploadReply): Promise<void> {
    assert.notEqual(this.#phase.kind, 'receiving', 'what is kept was pinned');
    assert.equal(reply.sizeBytes, this.#sizeBytes, 'what is kept is the whole file');
    this.#phase = { kind: 'kept', reply };
    this.#leaves = createLeaves(); // 32 bytes for each MiB that nobody needs any more
    await this.log.add({ reply });
  }

  async removeTail(): Promise<void> {
    await removeTail(this.#tailPath);
  }

  /** Takes what an earlier process wrote down. */
  restore(
    leaves: Leaves,
    events: readonly UploadEvent[],
    tail: Tail | undefined,
    usedAtMs: number,
  ): void {
    for (const event of events) {
      if ('sizeBytes' in event) this.#sizeBytes = event.sizeBytes;
      if ('isPinning' in event) this.#phase = { kind: 'pinning' };
      if ('reply' in event) this.#phase = { kind: 'kept', reply: event.reply };
    }
    if (this.#phase.kind !== 'kept') this.#leaves = leaves;
    this.#uncopiedLeaves = this.#leaves.count;
    this.#tail = tail;
    this.usedAtMs = usedAtMs;
  }

  get #validTail(): Tail | undefined {
    return this.#tail?.afterLeaves === this.#leaves.count ? this.#tail : undefined;
  }

  #assertUnfinished(): void {
    assert.notEqual(this.#phase.kind, 'kept', 'a file that is kept changes no more');
  }
}

/** Where an upload is on disk. */
interface Paths {
  readonly logPath: string;
  readonly tailPath: string;
}

/** Begins an upload, on disk first. @throws StorageFull */
export async function beginUpload(
  { logPath, tailPath }: Paths,
  head: UploadHead,
): Promise<ResumableUpload> {
  return new ResumableUpload(await createLog(logPath, head), tailPath, { isNew: true });
}

/** Brings an upload back from disk; undefined when not even its head can be read. */
export async function restoreUpload({
  logPath,
  tailPath,
}: Paths): Promise<ResumableUpload | undefined> {
  const leaves = createLeaves();
  const events: UploadEvent[] = [];
  const opened = await openLog(logPath, {
    leaf: (cid) => leaves.push(cid),
    event(event) {
      if ('leaves' in event) leaves.cut(event.leaves);
      else events.push(event);
    },
  });
  if (opened === undefined) return undefined;
  const tail = await readTail(tailPath);
  const upload = new ResumableUpload(opened.log, tailPath, { isNew: false });
  upload.restore(leaves, events, tail, Math.max(opened.usedAtMs, tail?.usedAtMs ?? 0));
  return upload;
}
