/**
 * Where a child's output goes: straight into a file, so that it needs no reader and outlives the
 * launcher. Opened for appending, so that the file can be emptied under its writers (the bound on
 * its size) after it was copied aside.
 */
import {
  closeSync,
  copyFileSync,
  mkdirSync,
  openSync,
  readSync,
  statSync,
  truncateSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { MiB } from '@shoal/protocol';

/** Twice this is the most that one process's logs take: the file, and the one before it. */
const LOG_SIZE_MAX_BYTES = 16 * MiB;
const CHECK_EVERY_MS = 30_000;
const TAIL_SIZE_BYTES = 4096;

export interface LogFile extends Disposable {
  readonly path: string;
  readonly fd: number;
}

/** Opens a log and keeps it within its bound. */
export function openLogFile(path: string): LogFile {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const fd = openSync(path, 'a', 0o600);
  rotate(path);
  const timer = setInterval(() => rotate(path), CHECK_EVERY_MS).unref();
  return {
    path,
    fd,
    [Symbol.dispose]() {
      clearInterval(timer);
      closeSync(fd);
    },
  };
}

/** The last lines of a log, for a message about a process that does not start. */
export function readTail(path: string, linesMax = 8): string {
  const fd = openSync(path, 'r');
  try {
    const sizeBytes = statSync(path).size;
    const tail = Buffer.alloc(Math.min(sizeBytes, TAIL_SIZE_BYTES));
    readSync(fd, tail, 0, tail.length, sizeBytes - tail.length);
    return tail.toString('utf8').trimEnd().split('\n').slice(-linesMax).join('\n');
  } finally {
    closeSync(fd);
  }
}

function rotate(path: string): void {
  if (statSync(path).size < LOG_SIZE_MAX_BYTES) return;
  copyFileSync(path, `${path}.1`);
  truncateSync(path);
}
