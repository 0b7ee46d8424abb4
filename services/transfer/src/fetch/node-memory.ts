/**
 * Nodes that were read a moment ago. What comes out of memory comes without a turn of the event loop, so
 * a walk over nodes that are all here would keep everything else from running, its own caller's leaving
 * included: every so often an answer from memory takes a turn.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';

/** Bytes of nodes between two turns: to decode them takes some ten milliseconds. */
const BYTES_PER_TURN = 256 * 1024;
/** What the smallest node counts for: 64 of them are a turn. */
const NODE_COST_BYTES = 4096;

/** Makes what is to be awaited with each node from memory. It throws once `signal` is aborted. */
export function createTurns({
  signal,
}: {
  signal: AbortSignal;
}): (bytes: Uint8Array) => Promise<void> {
  let costBytes = 0;
  return async (bytes) => {
    costBytes += bytes.length + NODE_COST_BYTES;
    if (costBytes < BYTES_PER_TURN) return;
    costBytes = 0;
    await nextTurn();
    signal.throwIfAborted();
  };
}
