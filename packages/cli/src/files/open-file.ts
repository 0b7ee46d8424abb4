/**
 * A file to send: its name, its size when it has one, its bytes.
 *
 * The size of a file in the system's words is a hint: files of /proc have none and hold bytes, those of
 * /sys say more than they hold, and others grow or shrink while they are sent. Small ones are read
 * before anything is sent; of all, the state before and after is compared.
 *
 * A pipe that is named is read as a stream, as `shoal add <(command)` expects. Devices and sockets are refused: they
 * have no bytes of their own, and many have no end. Nothing is opened in a way that waits: a thread that waits in the
 * system can't be interrupted, so that the command would ignore Ctrl-C, and even its own end.
 */
import { once } from 'node:events';
import { close, constants, fstat, open as openFd } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { Socket } from 'node:net';
import { basename } from 'node:path';
import { promisify } from 'node:util';
import type { Attributes } from '@shoal/blocks';
import { fileNameFault, visibleName } from '@shoal/protocol';
import type { Context } from '../context.ts';
import { CommandFailure } from '../failure.ts';
import { attributesOf } from './file-attributes.ts';
import { readPath } from '../options.ts';

const READ_SIZE_BYTES = 256 * 1024;
/** The path that means standard input. */
export const STDIN = '-';

export interface OpenFile extends AsyncDisposable {
  readonly name: string;
  /** Unknown of pipes, and of files whose size the system does not know. */
  readonly sizeBytes: number | undefined;
  /** To be read once. Throws a CommandFailure when it can't be read to its end. */
  readonly source: AsyncIterable<Uint8Array>;
  /** Undefined for what is no regular file. */
  readonly attributes: Attributes | undefined;
  /** Whether it changed since it was opened. */
  hasChanged(): Promise<boolean>;
}

/** @param givenName Needed for standard input. @throws CommandFailure */
export async function openFile(
  path: string,
  givenName: string | undefined,
  context: Context,
): Promise<OpenFile> {
  if (path === STDIN)
    return {
      name: givenName ?? 'standard input',
      sizeBytes: undefined,
      source: process.stdin,
      attributes: undefined,
      hasChanged: async () => false,
      // Else a command that was stopped would go on as long as somebody holds the other end.
      async [Symbol.asyncDispose]() {
        const { stdin } = process;
        stdin.destroy();
        if (!stdin.closed) await once(stdin, 'close'); // after a read that is under way
      },
    };
  const full = readPath(path, context);
  const name = givenName ?? basename(full);
  const fault = fileNameFault(name);
  if (fault !== undefined)
    throw new CommandFailure(`a file can't have this name, since ${fault}; give it a --name`);
  try {
    const file = await openSource(full);
    return { ...file, name };
  } catch (cause) {
    throw sourceFault(full, cause);
  }
}

/**
 * Opens a file and reads its first bytes, so that what can't be read is known before a byte is sent.
 * @param isOwn For what a listing called a file: follows no symlink, takes no pipe, and may end early.
 * @throws the system's error; CommandFailure for what is no file
 */
export async function openSource(
  full: string,
  { isOwn = false }: { readonly isOwn?: boolean } = {},
): Promise<Omit<OpenFile, 'name'>> {
  if (!isOwn) {
    // Before it is opened: to open a device may do something to it.
    const named = await stat(full);
    if (named.isFIFO()) return openPipe(full);
    checkKind(named);
  }
  const flags = constants.O_NONBLOCK | (isOwn ? constants.O_NOFOLLOW : 0);
  const handle = await open(full, constants.O_RDONLY | flags);
  try {
    const before = await handle.stat({ bigint: true });
    if (!before.isFile()) throw new CommandFailure('it is a file no more');
    const size = Number(before.size);
    // A file that grows while it is sent is cut off where it ended at first; of a size of 0 nothing
    // follows.
    // One byte more than it has: a read that is not filled is its end. The sizes that /proc says mean nothing.
    const firstBytes = size > 0 ? Math.min(size + 1, READ_SIZE_BYTES) : READ_SIZE_BYTES;
    const first = await readUpTo(handle, firstBytes);
    const isWhole = first.length < firstBytes;
    const limit = size > 0 ? size : Infinity;
    const sizeBytes = isWhole ? first.length : Number.isFinite(limit) ? limit : undefined;
    let endedEarly = false;
    async function* source(): AsyncGenerator<Uint8Array, void, undefined> {
      if (first.length > 0)
        yield isWhole ? first : first.subarray(0, Math.min(first.length, limit));
      if (isWhole) return;
      let left = limit - first.length;
      while (left > 0) {
        const piece = await readPiece(handle, full, Math.min(READ_SIZE_BYTES, left));
        if (piece.length === 0) break;
        left -= piece.length;
        yield piece;
      }
      if (left === 0 || !Number.isFinite(left)) return;
      endedEarly = true;
      if (!isOwn)
        throw new CommandFailure(
          `${visibleName(full)} changed while it was sent: it ended ${left} bytes too early`,
        );
    }
    return {
      sizeBytes,
      source: source(),
      attributes: attributesOf(before, { isSymlink: false }),
      async hasChanged() {
        const after = await handle.stat({ bigint: true });
        return endedEarly || after.size !== before.size || after.mtimeNs !== before.mtimeNs;
      },
      [Symbol.asyncDispose]: () => handle.close(),
    };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** @throws CommandFailure for what can't be sent, by its kind. */
function checkKind(named: {
  isFile(): boolean;
  isDirectory(): boolean;
  isSocket(): boolean;
}): void {
  if (named.isDirectory())
    throw new CommandFailure('it is a folder; -r uploads it with all that is in it');
  if (named.isSocket()) throw new CommandFailure('it is a socket, which has no bytes to keep');
  if (!named.isFile())
    throw new CommandFailure(
      'it is a device, which may have no end; to keep what it gives, pipe that into "shoal add - --name NAME"',
    );
}

/** A pipe as a stream, which waits for a writer and for bytes without a thread: it ends when it is disposed. */
async function openPipe(full: string): Promise<Omit<OpenFile, 'name'>> {
  const fd = await promisify(openFd)(full, constants.O_RDONLY | constants.O_NONBLOCK);
  if (!(await promisify(fstat)(fd)).isFIFO()) {
    await promisify(close)(fd);
    throw new CommandFailure('it is a pipe no more');
  }
  const pipe = new Socket({ fd, readable: true, writable: false });
  return {
    sizeBytes: undefined,
    source: pipe,
    attributes: undefined,
    hasChanged: async () => false,
    [Symbol.asyncDispose]: async () => void pipe.destroy(),
  };
}

/** Why a path can't be read, in a few words. */
export function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT') return 'there is no such file';
  if (code === 'EAGAIN') return 'it does not end, but waits for more to come';
  if (code === 'ELOOP') return 'it is a symlink, or leads through too many';
  return code === 'EACCES' ? 'it may not be read' : message;
}

/** A fault of the file that is sent, not of the connection. */
function sourceFault(full: string, cause: unknown): CommandFailure {
  if (cause instanceof CommandFailure) return cause;
  const { syscall } = cause as NodeJS.ErrnoException;
  const reason = reasonOf(cause);
  return new CommandFailure(
    syscall === 'read' ? `${visibleName(full)} can't be read: ${reason}` : reason,
    {
      cause,
    },
  );
}

async function readPiece(handle: FileHandle, full: string, sizeBytes: number): Promise<Uint8Array> {
  const buffer = Buffer.allocUnsafe(sizeBytes);
  try {
    const { bytesRead } = await handle.read(buffer, 0, sizeBytes, null);
    return buffer.subarray(0, bytesRead);
  } catch (cause) {
    throw sourceFault(full, cause);
  }
}

/** Reads until there are this many bytes, or no more. */
async function readUpTo(handle: FileHandle, sizeBytes: number): Promise<Uint8Array> {
  const buffer = Buffer.allocUnsafe(sizeBytes);
  let filled = 0;
  while (filled < sizeBytes) {
    const { bytesRead } = await handle.read(buffer, filled, sizeBytes - filled, null);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return buffer.subarray(0, filled);
}
