/**
 * Drafts: what is being downloaded, until it is whole. Each is private (a name of its own, short however
 * long the file's is, made and never opened), so that it meets no file of the user's, no link, and no
 * other download.
 */
import { randomUUID } from 'node:crypto';
import { constants, open as openFd, type Stats } from 'node:fs';
import { link, lstat, open, realpath, rename, stat } from 'node:fs/promises';
import { readlink } from 'node:fs/promises';
import { Socket } from 'node:net';
import { dirname, join, resolve } from 'node:path';
import type { Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { visibleName } from '@shoal/protocol';
import { CommandFailure } from '../failure.ts';

/** Links that may follow one another; what Linux takes. Past it: the command fails. */
const LINKS_MAX = 40;
/** Time between two looks whether somebody reads a pipe. Past it: one more. */
const READER_POLL_MS = 100;

/** The path of a new draft beside `path`. */
export const draftBeside = (path: string): string =>
  join(dirname(path), `.shoal-${randomUUID()}.part`);

/** Where bytes are to go. */
export type Target =
  | { readonly kind: 'new'; readonly path: string }
  /** A file to replace: it keeps its mode, and links to it stay links. */
  | { readonly kind: 'file'; readonly path: string; readonly mode: number }
  /** Written to as they are. */
  | { readonly kind: 'device' | 'pipe'; readonly path: string };

/** How a download to `path` must proceed. @throws CommandFailure when something is there that must stay. */
export async function findTarget(
  path: string,
  { isReplaceable }: { isReplaceable: boolean },
): Promise<Target> {
  const own = await statOf(lstat(path));
  if (own === undefined) {
    await checkFolder(dirname(path));
    return { kind: 'new', path };
  }
  const status = own.isSymbolicLink() ? await statOf(stat(path)) : own;
  if (status !== undefined && !status.isFile() && !status.isDirectory()) {
    if (status.isSocket())
      throw new CommandFailure(`${visibleName(path)} is a socket; choose another -o`);
    return { kind: status.isFIFO() ? 'pipe' : 'device', path };
  }
  if (status?.isDirectory() === true)
    throw new CommandFailure(
      `${visibleName(path)} is there already, and is a folder; choose another -o`,
    );
  if (!isReplaceable) throw existing(path);
  if (status === undefined) {
    const end = await endOfLinks(path);
    await checkFolder(dirname(end));
    return { kind: 'new', path: end };
  }
  return { kind: 'file', path: await realpath(path), mode: status.mode & 0o7777 };
}

/** Gives a finished draft its name. A file that appeared meanwhile wins, unless one had to be replaced. */
export async function publish(draft: string, target: Target): Promise<void> {
  const { kind, path } = target;
  if (kind === 'file') return rename(draft, path);
  try {
    await link(draft, path);
    return undefined;
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'EEXIST') throw existing(path);
  }
  // A file system without hard links: an empty file claims the name.
  const claimed = await open(path, 'wx').catch((cause: unknown) => {
    throw (cause as NodeJS.ErrnoException).code === 'EEXIST' ? existing(path) : cause;
  });
  await claimed.close();
  return rename(draft, path);
}

/** @throws CommandFailure when nothing can be made there, since it is no folder that is there. */
export async function checkFolder(folder: string): Promise<void> {
  const status = await statOf(stat(folder));
  if (status === undefined)
    throw new CommandFailure(
      `there is no folder ${visibleName(folder)}; make it, or choose another -o`,
    );
  if (!status.isDirectory())
    throw new CommandFailure(`${visibleName(folder)} is no folder; choose another -o`);
}

/** Opens a pipe for writing once somebody reads it; until then it can be stopped. */
export async function openPipe(
  path: string,
  { signal }: { signal: AbortSignal },
): Promise<Writable> {
  for (;;) {
    try {
      const fd = await promisify(openFd)(path, constants.O_WRONLY | constants.O_NONBLOCK);
      return new Socket({ fd, readable: false, writable: true });
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== 'ENXIO') throw cause;
    }
    await sleep(READER_POLL_MS, undefined, { signal }); // opening would wait in a thread that can't be interrupted
  }
}

/** A fault of the system in words that name the target, and not the draft, of which nobody knows. */
export function targetFault(
  cause: unknown,
  { draft, path }: { draft: string; path: string },
): Error {
  const { code, message } = cause as NodeJS.ErrnoException;
  if (code === undefined || !message.includes(draft)) return cause as Error; // what was thrown, as it was
  const folder = visibleName(dirname(path));
  if (code === 'ENOENT')
    return new CommandFailure(`there is no folder ${folder} any more`, { cause });
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS')
    return new CommandFailure(`the folder ${folder} may not be written to`, { cause });
  return new CommandFailure(message.replaceAll(draft, visibleName(path)), { cause });
}

export function existing(path: string): CommandFailure {
  return new CommandFailure(
    `${visibleName(path)} is there already; replace it with -f, or choose -o`,
  );
}

async function statOf(asked: Promise<Stats>): Promise<Stats | undefined> {
  try {
    return await asked;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw error;
  }
}

/** The final target of a broken link. */
async function endOfLinks(path: string): Promise<string> {
  let at = path;
  for (let links = 0; links < LINKS_MAX; links += 1) {
    const status = await statOf(lstat(at));
    if (status?.isSymbolicLink() !== true) return at;
    at = resolve(await realpath(dirname(at)), await readlink(at));
  }
  throw new CommandFailure(`${visibleName(path)} leads through too many links`);
}
