/**
 * Several have-maps in one answer. The caller waits for a second or so, and one DAG that is large and
 * not listed yet must not cost it the others: they are read a few at a time, and those that are not there
 * when the time is over are answered as unread.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Log } from '@shoal/chassis';
import {
  BlockNotFound,
  type Cid,
  type HaveMap,
  type HaveMapOrNot,
  ManifestIncomplete,
} from '@shoal/protocol';

/** Shorter than the second that discovery waits for the answer. */
const HAVE_MAPS_TIMEOUT_MS = 750;
/** Read side by side: one that waits for its manifest does not hold up the others. */
const READS_MAX = 4;
/** Bits in one answer together, encoded: as many as the longest have-map has. */
const BITS_MAX_CHARS = 16 * 1024 * 1024;

/** The result of `read` for each root, in their order. @throws The signal's reason. */
export async function haveMapsOf(
  roots: readonly Cid[],
  read: (root: Cid) => Promise<HaveMap>,
  {
    log,
    signal,
    timeoutMs = HAVE_MAPS_TIMEOUT_MS,
    bitsMaxChars = BITS_MAX_CHARS,
  }: { log: Log; signal: AbortSignal; timeoutMs?: number; bitsMaxChars?: number },
): Promise<HaveMapOrNot[]> {
  const found = roots.map((): HaveMapOrNot => 'unread');
  const { promise: late, resolve: end } = Promise.withResolvers<void>();
  let isOver = false;
  const timer = setTimeout(() => {
    isOver = true;
    end();
  }, timeoutMs);
  let chars = 0;
  const note = (at: number, said: HaveMapOrNot): void => {
    if (isOver) return;
    if (typeof said !== 'string' && (chars += said.bits.length) > bitsMaxChars) return;
    found[at] = said;
  };
  const rest = roots.entries(); // shared: each worker takes the next one
  const work = async (): Promise<void> => {
    for (const [at, root] of rest) {
      if (isOver || signal.aborted) return;
      note(at, await readOrNot(root, read, log));
      await nextTurn(); // a request for a block does not wait for all of them
    }
  };
  await Promise.race([late, Promise.all(Array.from({ length: READS_MAX }, work))]);
  isOver = true;
  clearTimeout(timer);
  signal.throwIfAborted();
  return found;
}

async function readOrNot(
  root: Cid,
  read: (root: Cid) => Promise<HaveMap>,
  log: Log,
): Promise<HaveMapOrNot> {
  try {
    return await read(root);
  } catch (err) {
    if (err instanceof BlockNotFound) return 'absent';
    if (err instanceof ManifestIncomplete) return 'incomplete';
    log.debug({ err, root }, 'have-map not read');
    return 'unread';
  }
}
