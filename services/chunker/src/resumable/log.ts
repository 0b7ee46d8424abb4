/**
 * The log of one resumable upload: a text file that only grows. Its first line is the
 * head; then a CID for each chunk that is durable in storage, and now and then an event as JSON. So
 * a mebibyte costs 60 bytes here, and what a crash leaves half-written is the last line, which the
 * next start cuts off: that chunk comes again.
 *
 * A line counts as soon as it is in the file, since a killed process loses nothing of it. Every answer to a
 * client rests on `sync`, so that not even a power cut takes it back.
 */
import { open, readFile, rename, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { syncFolder } from '@shoal/chassis';
import {
  Cid,
  Lease,
  REPLICAS_MAX,
  PinName,
  Sha256,
  StorageFull,
  UploadReply,
  GivenName,
  KeyId,
} from '@shoal/protocol';
import * as z from 'zod';

/** An id is 16 random bytes: a client that knows it may resume the upload. */
export const UploadId = z.string().regex(/^[0-9a-f]{32}$/);

/** The sender's wishes when the upload began. */
export const UploadWishes = z.object({
  /** Checked when it was given: an upload that began under an older rule resumes. */
  name: PinName.optional(),
  replicas: z.int().min(1).max(REPLICAS_MAX),
  copies: z.int().min(0).max(REPLICAS_MAX),
  expiresAtMs: z.int().nonnegative().optional(),
  sha256: Sha256.optional(),
  /** The token that it began with; those of earlier versions, and those without one, have none. */
  token: z
    .object({ id: KeyId, name: GivenName, maxBytes: z.int().nonnegative().optional() })
    .optional(),
});
export type UploadWishes = z.infer<typeof UploadWishes>;

export const UploadHead = z.object({
  v: z.literal(1),
  id: UploadId,
  lease: Lease,
  /** Undefined until the sender states it. */
  sizeBytes: z.int().nonnegative().optional(),
  /** As the client gave it, since it is answered again. */
  metadata: z.record(z.string(), z.string().nullable()).optional(),
  /** Whose share of the unfinished uploads it takes; those of earlier versions do not say. */
  client: z.string().max(200).optional(),
  wishes: UploadWishes,
});
export type UploadHead = z.infer<typeof UploadHead>;

const Event = z.union([
  /** The length is known now. */
  z.strictObject({ sizeBytes: z.int().nonnegative() }),
  /** Of the chunks before, only this many count: the others were lost. */
  z.strictObject({ leaves: z.int().nonnegative() }),
  /** From here on there may be a pin. */
  z.strictObject({ isPinning: z.literal(true) }),
  /** The file is kept; the last one counts. */
  z.strictObject({ reply: UploadReply }),
]);
export type UploadEvent = z.infer<typeof Event>;

/** Called with what the file says, in its order. */
export interface LogReader {
  leaf(cid: Cid): void;
  event(event: UploadEvent): void;
}

export interface UploadLog {
  readonly head: UploadHead;
  /** @throws StorageFull */
  addLeaves(cids: readonly Cid[]): Promise<void>;
  /** Durable once resolved. @throws StorageFull */
  add(event: UploadEvent): Promise<void>;
  /** Makes all lines before durable. */
  sync(): Promise<void>;
}

/** Writes a new upload down, durably. @throws StorageFull */
export async function createLog(path: string, head: UploadHead): Promise<UploadLog> {
  const text = `${JSON.stringify(head)}\n`;
  await replaceFile(path, Buffer.from(text));
  return logOf(path, head, Buffer.byteLength(text));
}

/** Reads an upload back; undefined when not even its head can be read. */
export async function openLog(
  path: string,
  reader: LogReader,
): Promise<{ log: UploadLog; usedAtMs: number } | undefined> {
  const bytes = await readFile(path);
  const headEnd = bytes.indexOf('\n');
  const head = UploadHead.safeParse(jsonOf(bytes.toString('utf8', 0, Math.max(0, headEnd))));
  if (!head.success) return undefined;
  let sizeBytes = headEnd + 1;
  for (let end; (end = bytes.indexOf('\n', sizeBytes)) >= 0; sizeBytes = end + 1)
    if (!readLine(bytes.toString('utf8', sizeBytes, end), reader)) break;
  const { mtimeMs } = await stat(path);
  if (sizeBytes < bytes.length) await truncate(path, sizeBytes);
  return { log: logOf(path, head.data, sizeBytes), usedAtMs: mtimeMs };
}

function readLine(line: string, reader: LogReader): boolean {
  const cid = Cid.safeParse(line);
  if (cid.success) {
    reader.leaf(cid.data);
    return true;
  }
  const event = Event.safeParse(jsonOf(line));
  if (event.success) reader.event(event.data);
  return event.success;
}

function logOf(path: string, head: UploadHead, initialSizeBytes: number): UploadLog {
  let sizeBytes = initialSizeBytes;
  let last: Promise<unknown> = Promise.resolve();
  /** One change at a time: lines must not mix. */
  const inTurn = (task: () => Promise<void>): Promise<void> => {
    const done = last.then(task);
    last = done.catch(() => {});
    return done;
  };
  const write = async (text: string, { isDurable }: { isDurable: boolean }): Promise<void> => {
    await using file = await open(path, 'r+');
    try {
      const bytes = Buffer.from(text);
      // At a place of its own: what a failed write left there is written over. A disk that is nearly full
      // accepts the first bytes and refuses the rest.
      for (let at = 0; at < bytes.length;) {
        const { bytesWritten } = await file.write(bytes, at, bytes.length - at, sizeBytes + at);
        at += bytesWritten;
      }
      if (isDurable) await file.datasync();
      sizeBytes += bytes.length;
    } catch (error) {
      await file.truncate(sizeBytes).catch(() => {}); // surplus bytes are written over, or cut at the start
      throw explainFull(error);
    }
  };
  return {
    head,
    addLeaves: (cids) =>
      inTurn(() => write(cids.map((cid) => `${cid}\n`).join(''), { isDurable: false })),
    add: (event) => inTurn(() => write(`${JSON.stringify(event)}\n`, { isDurable: true })),
    sync: () =>
      inTurn(async () => {
        await using file = await open(path, 'r+');
        await file.datasync();
      }),
  };
}

/** Puts a small file in the place of another, or of none: after a crash it is the old or the new one. */
export async function replaceFile(path: string, bytes: Uint8Array): Promise<void> {
  const draft = `${path}.draft`;
  try {
    await writeFile(draft, bytes, { mode: 0o600, flush: true });
    await rename(draft, path);
  } catch (error) {
    await rm(draft, { force: true }); // on a full disk, half a draft is room that others need
    throw explainFull(error);
  }
  syncFolder(dirname(path));
}

function explainFull(error: unknown): unknown {
  const { code } = error as NodeJS.ErrnoException;
  if (code !== 'ENOSPC' && code !== 'EDQUOT') return error;
  return new StorageFull({ limit: 'disk space', freeBytes: 0 }, { cause: error });
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
