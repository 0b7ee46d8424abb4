/**
 * Reads of nodes, which are remembered over all requests: every path through a directory begins with the
 * same few. Reads from memory take no turn of the event loop, so a walk over nodes that are all
 * here would keep everything else from running, the abort of its own caller included: every so often an
 * answer from memory takes a turn.
 */
import type { GetNode } from '@shoal/blocks';
import type { BlockMemory } from '@shoal/chassis';
import type { Cid } from '@shoal/protocol';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { NODE_COST_BYTES } from './read-budget.ts';
import type { ReceivedBlock } from './receive-block.ts';

/** Bytes of nodes between two turns: to decode them takes some ten milliseconds. */
const BYTES_PER_TURN = 256 * 1024;
/** A node's cost beside its bytes: 64 of the smallest are a turn. */
const TURN_COST_BYTES = 4096;

/** Gives what to await with each node from memory. It throws once `signal` is aborted. */
export function createTurns({
  signal,
}: {
  signal: AbortSignal;
}): (bytes: Uint8Array) => Promise<void> {
  let costBytes = 0;
  return async (bytes) => {
    costBytes += bytes.length + TURN_COST_BYTES;
    if (costBytes < BYTES_PER_TURN) return;
    costBytes = 0;
    await nextTurn();
    signal.throwIfAborted();
  };
}

export interface NodeReads {
  /** A node's bytes, from wherever `fetch` gets them. */
  readonly getNode: GetNode;
  /** The same from this peer alone; undefined when it is not here. */
  readonly getNodeHere: GetNode;
  /** A node's bytes, when they were read a moment ago: nobody is asked. */
  recall(cid: Cid): Uint8Array | undefined;
}

/** The reads of one request. */
export function createNodeReads(
  {
    memory,
    fetch,
    fetchHere,
    spend,
  }: {
    readonly memory: BlockMemory;
    readonly fetch: (cid: Cid) => Promise<ReceivedBlock>;
    readonly fetchHere: (cid: Cid) => Promise<ReceivedBlock | undefined>;
    /** Pays for what was read. */
    readonly spend: (cid: Cid, readBytes: number) => void;
  },
  { signal }: { signal: AbortSignal },
): NodeReads {
  const turn = createTurns({ signal });
  const paid = (cid: Cid, bytes: Uint8Array): Uint8Array => {
    spend(cid, bytes.length + NODE_COST_BYTES);
    return bytes;
  };
  const take = (cid: Cid, block: ReceivedBlock): Uint8Array => {
    const bytes = Uint8Array.from(block.bytes); // the block's own buffer is used again
    block.release();
    memory.remember(cid, bytes);
    return bytes;
  };
  const recallInTurn = async (cid: Cid): Promise<Uint8Array | undefined> => {
    const bytes = memory.recall(cid);
    if (bytes !== undefined) await turn(bytes);
    return bytes;
  };
  return {
    getNode: async (cid) => paid(cid, (await recallInTurn(cid)) ?? take(cid, await fetch(cid))),
    async getNodeHere(cid) {
      const known = await recallInTurn(cid);
      if (known !== undefined) return paid(cid, known);
      const block = await fetchHere(cid);
      return block === undefined ? undefined : paid(cid, take(cid, block));
    },
    recall: (cid) => memory.recall(cid),
  };
}
