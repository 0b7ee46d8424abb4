import { writeSync } from 'node:fs';

const STDOUT = 1;
/** A reader that is slow for longer than this loses the line. Past it: the line is lost. */
const TRIES_MAX = 50;
const PAUSE_MS = 1;

/**
 * Writes a line to stdout; when that can't be done the line is lost, and nothing else. The logs may
 * be on a full disk, and a peer that can still read and delete must not block on a log line.
 */
export function writeLogLine(line: string, write: typeof writeSync = writeSync): void {
  let rest = Buffer.from(line);
  for (let tries = 0; rest.length > 0 && tries < TRIES_MAX; tries += 1)
    try {
      rest = rest.subarray(write(STDOUT, rest));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') return;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PAUSE_MS);
    }
}
