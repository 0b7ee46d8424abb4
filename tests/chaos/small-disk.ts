/** A disk of a few MiB that can be filled and emptied: a file system in memory, mounted for a peer's data. */
import { execFile } from 'node:child_process';
import { closeSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { MiB } from '@shoal/protocol';
import { openTemporaryFolder } from '@shoal/testkit';

const run = promisify(execFile);
const COMMAND_TIMEOUT_MS = 10_000;
/** Pieces that the rest of the disk is filled with, down to a page. */
const PIECE_SIZES_BYTES = [MiB, 4096];

export interface SmallDisk extends AsyncDisposable {
  readonly path: string;
  /** Leaves no byte free. */
  fill(): void;
  empty(): void;
}

/** Why no disk can be made here; undefined when one can. */
export async function whyNoDisk(): Promise<string | undefined> {
  try {
    await using disk = await openSmallDisk(MiB);
    return disk.path === '' ? 'no path' : undefined;
  } catch (error) {
    return `no file system can be mounted: ${(error as Error).message.trim()}`;
  }
}

export async function openSmallDisk(sizeBytes: number): Promise<SmallDisk> {
  await using opening = new AsyncDisposableStack();
  const { path } = opening.use(await openTemporaryFolder());
  const options = { timeout: COMMAND_TIMEOUT_MS };
  await run('mount', ['-t', 'tmpfs', '-o', `size=${sizeBytes},mode=700`, 'tmpfs', path], options);
  // Lazily: a process that was just killed may hold a file a moment longer.
  opening.defer(async () => void (await run('umount', ['-l', path], options)));
  const ballast = join(path, 'ballast');
  const open = opening.move();
  return {
    path,
    fill() {
      const fd = openSync(ballast, 'a');
      try {
        for (const pieceBytes of PIECE_SIZES_BYTES) writeUntilFull(fd, pieceBytes, sizeBytes);
      } finally {
        closeSync(fd);
      }
    },
    empty: () => rmSync(ballast, { force: true }),
    [Symbol.asyncDispose]: () => open.disposeAsync(),
  };
}

function writeUntilFull(fd: number, pieceBytes: number, sizeBytes: number): void {
  const piece = Buffer.alloc(pieceBytes);
  for (let writtenBytes = 0; writtenBytes <= sizeBytes; writtenBytes += pieceBytes)
    try {
      writeSync(fd, piece);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOSPC') return;
      throw error;
    }
}
