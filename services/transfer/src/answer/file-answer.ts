/** Head of the answer to a request for a file, however the file was found. */
import type { ByteRange } from '../file/pieces.ts';
import type { Selection } from './range.ts';
import type { Head } from './send-body.ts';

/** First and last byte to send. */
export function rangeOf(selection: Selection, sizeBytes: number): ByteRange {
  return selection.kind === 'range' ? selection : { start: 0, end: sizeBytes - 1 };
}

/** Status and headers of a file, or a part of it. */
export function headOf(
  selection: Selection,
  sizeBytes: number,
  headers: Readonly<Record<string, string>>,
): Head {
  if (selection.kind === 'not-modified') return { status: 304, headers };
  const { start, end } = rangeOf(selection, sizeBytes);
  const length = { 'content-length': end - start + 1 };
  return selection.kind === 'range'
    ? {
        status: 206,
        headers: { ...headers, ...length, 'content-range': `bytes ${start}-${end}/${sizeBytes}` },
      }
    : { status: 200, headers: { ...headers, ...length } };
}

/** `?download`, `?download=1`, `?download=true`. */
export const isYes = (value: string | undefined): boolean =>
  value !== undefined && !['0', 'false', 'no'].includes(value.toLowerCase());
