/** A file that is to be sent: its name, its size when it has one, its bytes. */
import { open, stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { Readable } from 'node:stream';
import type { Context } from './context.ts';
import { CommandFailure } from './failure.ts';
import { readPath } from './options.ts';

const READ_SIZE_BYTES = 256 * 1024;
/** The path that means standard input. */
export const STDIN = '-';

export interface OpenFile extends AsyncDisposable {
  readonly name: string;
  /** Unknown of pipes and devices. */
  readonly sizeBytes: number | undefined;
  readonly source: AsyncIterable<Uint8Array>;
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
      [Symbol.asyncDispose]: async () => {},
    };
  const full = readPath(path, context);
  const name = givenName ?? basename(full);
  try {
    const status = await stat(full);
    if (status.isDirectory())
      throw new CommandFailure('it is a folder; -r uploads it with all that is in it');
    const handle = await open(full);
    // A pipe or a device has no size: it is read to its end.
    const sizeBytes = status.isFile() ? status.size : undefined;
    const end = sizeBytes === undefined ? {} : { end: sizeBytes - 1 };
    const source =
      sizeBytes === 0
        ? Readable.from([])
        : handle.createReadStream({ highWaterMark: READ_SIZE_BYTES, autoClose: false, ...end });
    return { name, sizeBytes, source, [Symbol.asyncDispose]: () => handle.close() };
  } catch (cause) {
    throw cause instanceof CommandFailure ? cause : new CommandFailure(reasonOf(cause), { cause });
  }
}

/** Why a path can't be read, in a few words. */
export function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT') return 'there is no such file';
  return code === 'EACCES' ? 'it may not be read' : message;
}
