/**
 * Where a child's output goes: straight into a file, so that it needs no reader and outlives the
 * launcher. Opened for appending, so that the file can be emptied under its writers (the bound on
 * its size) after it was copied aside.
 *
 * Logs are upkeep: their failures are reported, and end no process. A file that was deleted still
 * takes up its room for as long as it is written to, so it is bounded too; its process gets a new one when
 * it is started again. A log that can't be opened, say on a full disk, is tried again then.
 */
import {
  closeSync,
  copyFileSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readSync,
  rmSync,
  statSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { MiB } from '@shoal/protocol';

/**
 * Twice this is the most that one process's logs take: the file, and the one before it.
 * Past it: the older one is overwritten.
 */
const LOG_SIZE_MAX_BYTES = 16 * MiB;
const CHECK_EVERY_MS = 30_000;
const TAIL_SIZE_BYTES = 4096;
/** A fatal line has the stacks of an error and of its causes in it. */
const WORDS_SIZE_BYTES = 32 * 1024;

export interface LogFile extends Disposable {
  readonly path: string;
  /** Where a process that starts now writes; `ignore` when there is no file to be had. */
  output(): number | 'ignore';
  /** The end of what came since then. */
  written(): string;
}

/** Opens a log and keeps it within its bound; `say` tells what is wrong with it, once. */
export function openLogFile(
  path: string,
  {
    say,
    sizeMaxBytes = LOG_SIZE_MAX_BYTES,
    checkEveryMs = CHECK_EVERY_MS,
  }: {
    readonly say: (line: string) => void;
    readonly sizeMaxBytes?: number;
    readonly checkEveryMs?: number;
  },
): LogFile {
  let fd: number | undefined;
  let beganAtBytes = 0;
  let said = '';
  const tell = (what: string): void => {
    if (what !== said && what !== '') say(what);
    said = what;
  };
  const close = (): void => {
    if (fd !== undefined) closeSync(fd);
    fd = undefined;
  };
  const reopen = (): void => {
    close();
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    fd = openSync(path, 'a', 0o600);
  };
  const check = (): void => {
    try {
      if (fd === undefined) return;
      const isThere = isNamed(fd, path);
      const lost = fstatSync(fd).size < sizeMaxBytes ? '' : turn(fd, path, isThere);
      tell(isThere ? lost : `${path} was moved or deleted; it begins anew when its process does`);
    } catch (error) {
      tell(`${path} can't be looked after: ${(error as Error).message}`);
    }
  };
  const output = (): number | 'ignore' => {
    try {
      if (fd === undefined || !isNamed(fd, path)) reopen();
      check();
      beganAtBytes = fd === undefined ? 0 : fstatSync(fd).size;
    } catch (error) {
      tell(`${path} can't be written: ${(error as Error).message}`);
    }
    return fd ?? 'ignore';
  };
  output();
  const timer = setInterval(check, checkEveryMs).unref();
  return {
    path,
    output,
    written: () => readEnd(path, { sizeMaxBytes: WORDS_SIZE_BYTES, fromBytes: beganAtBytes }),
    [Symbol.dispose]() {
      clearInterval(timer);
      close();
    },
  };
}

/** The last lines of a log, for a message about a process that does not start; empty without one. */
export function readTail(path: string, linesMax = 8): string {
  const tail = readEnd(path, { sizeMaxBytes: TAIL_SIZE_BYTES });
  return tail.trimEnd().split('\n').slice(-linesMax).join('\n');
}

/** The end of a file, or of what is behind `fromBytes`; one that was emptied since begins anew. */
function readEnd(
  path: string,
  { sizeMaxBytes, fromBytes = 0 }: { readonly sizeMaxBytes: number; readonly fromBytes?: number },
): string {
  let fd: number | undefined;
  try {
    fd = openSync(path, 'r');
    const { size } = fstatSync(fd);
    const end = Buffer.alloc(Math.min(size - (fromBytes > size ? 0 : fromBytes), sizeMaxBytes));
    readSync(fd, end, 0, end.length, size - end.length);
    return end.toString('utf8');
  } catch {
    return ''; // the message does without it
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

/** Whether what is open is what the path names. */
function isNamed(fd: number, path: string): boolean {
  const open = fstatSync(fd);
  const named = statSync(path, { throwIfNoEntry: false });
  return named?.ino === open.ino && named.dev === open.dev;
}

/** Empties a log after copying it aside; answers what is lost by it. A file that was moved is not ours. */
function turn(fd: number, path: string, isThere: boolean): string {
  if (!isThere && fstatSync(fd).nlink > 0) return '';
  let lost = '';
  const before = `${path}.1`;
  try {
    rmSync(before, { force: true }); // on a full disk, its room is what the copy needs
    if (isThere) copyFileSync(path, before);
  } catch (error) {
    lost = `${path} was emptied, its lines are lost: ${(error as Error).message}`;
    removeIfHere(before);
  }
  ftruncateSync(fd);
  return lost;
}

/** Half a copy is of no use to anybody. */
function removeIfHere(path: string): void {
  try {
    rmSync(path, { force: true });
  } catch {
    // The reason was reported already.
  }
}
