/** One upload that may be resumed, as this process knows it. Its truth is the log and the tail. */
import type { Place } from '@shoal/chassis';
import { CHUNK_SIZE_BYTES, type UploadReply } from '@shoal/protocol';
import { type Hold, type IntakeDeps, openHold } from '../intake/intake.ts';
import type { Progress } from '../intake/progress.ts';
import { createFileHash, type FileHash } from './hash.ts';
import { createLeaves, type Leaves } from './leaves.ts';
import { createLog, openLog, type UploadEvent, type UploadHead, type UploadLog } from './log.ts';
import { readTail, removeTail, type Tail } from './tail.ts';

export interface ResumableUpload {
  readonly id: string;
  readonly log: UploadLog;
  readonly tailPath: string;
  /** Chunks that are durable in storage, in order; all are whole but the last of a complete file. */
  leaves: Leaves;
  readonly hash: FileHash;
  /** Undefined until the sender states it. */
  sizeBytes: number | undefined;
  tail: Tail | undefined;
  /** Wall clock of the last byte or question; what is left alone too long expires. */
  usedAtMs: number;
  /** A pin of the file may stand. */
  isPinning: boolean;
  /** The file is kept, and this is what there is to tell of it. */
  reply: UploadReply | undefined;
  /** Whether this process made sure that storage has the chunks that an earlier one wrote down. */
  isChecked: boolean;
  /** Chunks of an earlier process: copies of them were not asked for by this one. */
  restoredLeaves: number;
  /** Its place among the unfinished ones. */
  place: Place | undefined;
  hold: Hold | undefined;
  progress: Progress | undefined;
  /** Ends the request that writes now. */
  interrupt: ((reason: Error) => void) | undefined;
}

/** How many bytes are durable: where a client goes on. */
export function offsetOf({ leaves, tail, sizeBytes, reply }: ResumableUpload): number {
  if (reply !== undefined) return reply.sizeBytes;
  const tailBytes = tail?.afterLeaves === leaves.count ? tail.sizeBytes : 0;
  const bytes = leaves.count * CHUNK_SIZE_BYTES + tailBytes;
  return sizeBytes === undefined ? bytes : Math.min(bytes, sizeBytes);
}

/** Whether every byte of it is here. */
export const isWhole = (upload: ResumableUpload): boolean => offsetOf(upload) === upload.sizeBytes;

/** What holds its blocks until its pin does. */
export function holdOf(
  upload: ResumableUpload,
  deps: Pick<IntakeDeps, 'leases' | 'replicator'>,
): Hold {
  const { lease, wishes } = upload.log.head;
  upload.hold ??= openHold(deps, { replicas: wishes.replicas, lease });
  return upload.hold;
}

/** Where its watchers are told how it goes. */
export function progressOf(
  upload: ResumableUpload,
  { progressEvents }: Pick<IntakeDeps, 'progressEvents'>,
): Progress {
  if (upload.progress === undefined) {
    upload.progress = progressEvents.open(upload.log.head.wishes.name ?? upload.id);
    upload.progress.received(offsetOf(upload));
  }
  return upload.progress;
}

/** Begins an upload, on disk first. @throws StorageFull */
export async function beginUpload(
  paths: { readonly logPath: string; readonly tailPath: string },
  head: UploadHead,
): Promise<ResumableUpload> {
  const log = await createLog(paths.logPath, head);
  return {
    ...emptyUpload(log, paths.tailPath),
    usedAtMs: Date.now(),
    isChecked: true,
  };
}

/** Brings an upload back from disk; undefined when not even its head can be read. */
export async function restoreUpload(paths: {
  readonly logPath: string;
  readonly tailPath: string;
}): Promise<ResumableUpload | undefined> {
  const leaves = createLeaves();
  const events: UploadEvent[] = [];
  const opened = await openLog(paths.logPath, {
    leaf: (cid) => leaves.push(cid),
    event(event) {
      if ('leaves' in event) leaves.cut(event.leaves);
      else events.push(event);
    },
  });
  if (opened === undefined) return undefined;
  const upload = emptyUpload(opened.log, paths.tailPath);
  const tail = await readTail(paths.tailPath);
  for (const event of events) {
    if ('sizeBytes' in event) upload.sizeBytes = event.sizeBytes;
    if ('isPinning' in event) upload.isPinning = true;
    if ('reply' in event) upload.reply = event.reply;
  }
  if (upload.reply === undefined) upload.leaves = leaves;
  upload.restoredLeaves = upload.leaves.count;
  upload.tail = tail;
  upload.usedAtMs = Math.max(opened.usedAtMs, tail?.usedAtMs ?? 0);
  return upload;
}

/** Forgets the chunks from this one on: they are gone, and the client is to send them again. */
export async function cutTo(upload: ResumableUpload, count: number): Promise<void> {
  await removeTail(upload.tailPath); // first: it must not fit again when as many chunks are back
  upload.tail = undefined;
  await upload.log.add({ leaves: count });
  upload.leaves.cut(count);
  upload.hash.keepTo(count);
  upload.restoredLeaves = Math.min(upload.restoredLeaves, count);
}

function emptyUpload(log: UploadLog, tailPath: string): ResumableUpload {
  const { id, sizeBytes } = log.head;
  return {
    id,
    log,
    tailPath,
    leaves: createLeaves(),
    hash: createFileHash(),
    sizeBytes,
    tail: undefined,
    usedAtMs: 0,
    isPinning: false,
    reply: undefined,
    isChecked: false,
    restoredLeaves: 0,
    place: undefined,
    hold: undefined,
    progress: undefined,
    interrupt: undefined,
  };
}
