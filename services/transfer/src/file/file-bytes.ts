/** The bytes of a whole pinned file, for what this service does with them itself. */
import type { Pin } from '@shoal/protocol';
import { openPinnedFile, type PinnedFileDeps } from './pinned-file.ts';
import type { Flow } from './pieces.ts';

/** Blocks in flight: nobody waits for each byte, so few are enough. */
const WINDOW_BLOCKS = 4;
const FLOW: Flow = { windowBlocks: () => WINDOW_BLOCKS, noteTook: () => {} };

/**
 * Yields a file's bytes in their order, verified. Each part is in a buffer that is used again: it
 * holds until the next is asked for.
 * @throws BlockUnavailable, ManifestInvalid
 */
export async function* readFileBytes(
  pin: Pin,
  deps: PinnedFileDeps,
  { signal }: { signal: AbortSignal },
): AsyncGenerator<Uint8Array, void, undefined> {
  const range = { start: 0, end: pin.sizeBytes - 1 };
  for await (const { bytes, release } of await openPinnedFile(pin, range, deps, FLOW, { signal }))
    try {
      yield bytes;
    } finally {
      release();
    }
}
