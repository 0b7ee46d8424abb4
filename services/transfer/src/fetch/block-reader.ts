/**
 * How one request reads blocks: from anywhere, or from this peer alone; at once or not at all, or with
 * patience for what a pin promises. Nodes are remembered over all requests, since every path through a
 * directory begins with the same few.
 */
import type { GetNode } from '@shoal/blocks';
import { createBlockMemory } from '@shoal/chassis';
import { type Cid, type Member, NotCached } from '@shoal/protocol';
import type { FindBlock } from './swarm-blocks.ts';
import { createTurns } from './node-memory.ts';
import {
  createLinkRoom,
  createReadBudget,
  type HeldLinks,
  NODE_COST_BYTES,
} from './read-budget.ts';
import type { ReceivedBlock } from './receive-block.ts';

/** Nodes remembered, by what they take together. */
const NODES_CACHED_MAX_BYTES = 16 * 1024 * 1024;
/** A block of a pinned DAG is somewhere: a service that crashed is back within seconds. */
const PINNED_RETRY_FOR_MS = 6000;
/** A block that no pin promises is looked for once or twice more: a busy member answers late. */
const LOOSE_RETRY_FOR_MS = 250;

export interface BlockReader {
  /** A node's bytes. @throws BlockAbsent, BlockUnavailable, NotCached; ManifestInvalid when too much is read. */
  readonly getNode: GetNode;
  /** Any block; the caller releases it. @throws the same. */
  get(cid: Cid): Promise<ReceivedBlock>;
  /** Looks for a block ahead of `fetch`. */
  locate(cid: Cid): Promise<readonly Member[]>;
  /** Gets a block that was located. @throws the same. */
  fetch(
    cid: Cid,
    holders: Promise<readonly Member[]>,
    options: { signal: AbortSignal },
  ): Promise<ReceivedBlock>;
  /** A node's bytes, when they were read a moment ago: nobody is asked. */
  recall(cid: Cid): Uint8Array | undefined;
  /** A node's bytes, when this peer has them: nobody else is asked. */
  readonly getNodeHere: GetNode;
  /** Whether this peer has it. */
  isHere(cid: Cid): Promise<boolean>;
  readonly isLocalOnly: boolean;
  /** Pays for work that reads no node. @throws ManifestInvalid as `getNode` does. */
  spend(cid: string, readBytes: number): void;
  /** Room for links that are held while others are followed. */
  holdLinks(): HeldLinks;
}

export interface ReadOptions {
  readonly signal: AbortSignal;
  /** Whose share of what this peer does its reads are. */
  readonly client: string;
  /** Others are not asked (`Cache-Control: only-if-cached`). */
  readonly isLocalOnly: boolean;
  /** A live pin reaches what is read. */
  readonly isPinned: boolean;
  /** Bytes that went out for it so far. Without, it may read as much as it likes. */
  readonly sentBytes?: () => number;
}

/** Gives each request its reader. */
export function createBlockReaders(
  blocks: FindBlock,
  limits: { readonly freeMaxBytes?: number } = {},
): (options: ReadOptions) => BlockReader {
  const { recall, remember } = createBlockMemory(NODES_CACHED_MAX_BYTES);
  const links = createLinkRoom();
  const take = (cid: Cid, block: ReceivedBlock): Uint8Array => {
    const bytes = Uint8Array.from(block.bytes); // the block's own buffer is used again
    block.release();
    remember(cid, bytes);
    return bytes;
  };

  return ({ signal, client, isLocalOnly, isPinned, sentBytes }) => {
    const budget =
      isPinned || sentBytes === undefined ? undefined : createReadBudget(sentBytes, limits);
    const spend: BlockReader['spend'] = (cid, readBytes) => budget?.spend(cid, readBytes);
    const paid = (cid: Cid, bytes: Uint8Array): Uint8Array => {
      spend(cid, bytes.length + NODE_COST_BYTES);
      return bytes;
    };
    const turn = createTurns({ signal });
    const recallInTurn = async (cid: Cid): Promise<Uint8Array | undefined> => {
      const bytes = recall(cid);
      if (bytes !== undefined) await turn(bytes);
      return bytes;
    };
    const getHere = async (cid: Cid): Promise<ReceivedBlock> => {
      const block = await blocks.getHere(cid, { signal });
      if (block === undefined) throw new NotCached({ cid });
      return block;
    };
    const get = async (cid: Cid): Promise<ReceivedBlock> => {
      if (isLocalOnly) return getHere(cid);
      if (!isPinned) return blocks.get(cid, { client, signal });
      const here = await blocks.getHere(cid, { signal });
      return (
        here ?? blocks.fetch(cid, blocks.locate(cid), { retryForMs: PINNED_RETRY_FOR_MS, signal })
      );
    };
    return {
      get,
      getNode: async (cid) => paid(cid, (await recallInTurn(cid)) ?? take(cid, await get(cid))),
      recall,
      async getNodeHere(cid) {
        const known = await recallInTurn(cid);
        if (known !== undefined) return paid(cid, known);
        const block = await blocks.getHere(cid, { signal });
        return block === undefined ? undefined : paid(cid, take(cid, block));
      },
      isHere: (cid) => blocks.isHere(cid),
      isLocalOnly,
      spend,
      holdLinks: () => links.open(),
      locate: async (cid) => (isLocalOnly ? [] : blocks.locate(cid)),
      fetch: (cid, holders, options) =>
        isLocalOnly
          ? getHere(cid)
          : blocks.fetch(cid, holders, {
              ...options,
              retryForMs: isPinned ? PINNED_RETRY_FOR_MS : LOOSE_RETRY_FOR_MS,
            }),
    };
  };
}
