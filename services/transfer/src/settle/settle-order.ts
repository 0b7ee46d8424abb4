import type { Pin } from '@shoal/protocol';

/** A pin with the fewest copies over its blocks that were confirmed; undefined when nobody could say. */
export interface CountedPin {
  readonly pin: Pin;
  readonly copies: number | undefined;
}

/**
 * The order in which files are settled: those with one copy left first, then those with two, and so
 * on; a small file before a large one, because more files are safe sooner. Without any copy there is
 * nothing to copy from: such a file comes last. Deleted ones that can be brought back are behind all others.
 */
export function settleOrder(files: readonly CountedPin[]): Pin[] {
  return files
    .toSorted(
      (a, b) =>
        Number(a.pin.deleted) - Number(b.pin.deleted) ||
        urgency(a) - urgency(b) ||
        a.pin.sizeBytes - b.pin.sizeBytes,
    )
    .map(({ pin }) => pin);
}

/** Lower is sooner. An unknown count is behind every known one, and before "no copy". */
function urgency({ copies }: CountedPin): number {
  if (copies === undefined) return Number.MAX_SAFE_INTEGER;
  return copies === 0 ? Infinity : copies;
}
