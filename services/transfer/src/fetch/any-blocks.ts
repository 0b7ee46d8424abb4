/**
 * The `any` strategy: any block of the swarm, by asking: from our own storage, else from a member whose
 * storage confirms it. It serves what no list names: single blocks, paths, DAGs of other programs.
 *
 * Clients that learned of this peer ask it for much that nobody has (Kubo asks all that it is connected
 * to), so a no is remembered for a moment. Each request opens a reader of its own, with its own patience
 * (what a pin promises is waited for), its own budget, and perhaps no right to ask others.
 */
import { createBlockMemory, type Log, type PeerClient, RecentMap } from '@shoal/chassis';
import { BlockAbsent, BlockUnavailable, type Cid, type Member, NotCached } from '@shoal/protocol';
import { setTimeout as sleep } from 'node:timers/promises';
import type { MemberView } from '../peers/member-view.ts';
import type { AskStorage } from './ask-storage.ts';
import type { FetchBlock } from './fetch.ts';
import { Locator } from './locate.ts';
import { createNodeReads, type NodeReads } from './node-reads.ts';
import { createLinkRoom, createReadBudget, type HeldLinks } from './read-budget.ts';
import type { ReceivedBlock } from './receive-block.ts';
import { createSharedBlocks } from './shared-blocks.ts';

/** How long a no is remembered, and of how many blocks. */
const ABSENT_FOR_MS = 1000;
const ABSENT_MAX = 4096;
/** Nodes remembered, by what they take together. */
const NODES_CACHED_MAX_BYTES = 16 * 1024 * 1024;
/**
 * A block that a peer just confirmed is worth more than one try: a busy holder, or one that drops its
 * surplus copy in that moment. IPFS clients shun a host for a 5xx, and wait 10 s for a first byte.
 */
const HELD_RETRY_FOR_MS = 3000;
/** A block of a pinned DAG is somewhere: a service that crashed is back within seconds. */
const PINNED_RETRY_FOR_MS = 6000;
/** A block that no pin promises is looked for once or twice more: a busy member answers late. */
const LOOSE_RETRY_FOR_MS = 250;
/** Pause before a block that must be somewhere is looked for again. */
const RETRY_DELAY_MS = 250;

export interface ReadOptions {
  readonly signal: AbortSignal;
  /** Whose share of what this peer does its reads are. */
  readonly client: string;
  /** Others are not asked (`Cache-Control: only-if-cached`). */
  readonly isLocalOnly: boolean;
  /** A live pin reaches what is read. */
  readonly isPinned: boolean;
  /** Bytes that went out for it so far. Undefined: it may read as much as it likes. */
  readonly sentBytes?: () => number;
}

/** Reads fail with BlockAbsent, BlockUnavailable, NotCached; ManifestInvalid when too much is read. */
export interface BlockReader extends NodeReads {
  readonly isLocalOnly: boolean;
  /**
   * One verified block; the caller releases it. It is shared with all who want the same one at this moment,
   * unless its holders were located ahead. Without a signal it ends with the request. @throws Overloaded
   */
  fetch(
    cid: Cid,
    options?: { readonly holders?: Promise<readonly Member[]>; readonly signal?: AbortSignal },
  ): Promise<ReceivedBlock>;
  /** Looks for a block ahead of its fetch: ourselves alone when it is here. */
  locate(cid: Cid): Promise<readonly Member[]>;
  /** Whether this peer has it. */
  isHere(cid: Cid): Promise<boolean>;
  /** Pays for work that reads no node. @throws ManifestInvalid */
  spend(cid: string, readBytes: number): void;
  /** Room for links that are held while others are followed. */
  holdLinks(): HeldLinks;
}

export interface AnyBlocksDeps {
  readonly client: PeerClient;
  readonly view: MemberView;
  readonly ask: AskStorage;
  readonly fetchBlock: FetchBlock;
  readonly log: Log;
  /** See `createReadBudget`. */
  readonly freeMaxBytes?: number;
}

export class AnyBlocks implements Disposable {
  readonly #deps: AnyBlocksDeps;
  readonly #locator: Locator;
  readonly #shared = createSharedBlocks();
  readonly #nodes = createBlockMemory(NODES_CACHED_MAX_BYTES);
  readonly #links = createLinkRoom();
  readonly #nobodyHas = new RecentMap<Cid, true>({ max: ABSENT_MAX, ttlMs: ABSENT_FOR_MS });

  /** @param signal Ends questions under way. */
  constructor(deps: AnyBlocksDeps, { signal }: { signal: AbortSignal }) {
    this.#deps = deps;
    this.#locator = new Locator(deps, { signal });
  }

  /** Gives a request its reader. */
  open(request: ReadOptions): BlockReader {
    const { client, isLocalOnly, isPinned, sentBytes } = request;
    const retryForMs = isPinned ? PINNED_RETRY_FOR_MS : LOOSE_RETRY_FOR_MS;
    const budget =
      isPinned || sentBytes === undefined ? undefined : createReadBudget(sentBytes, this.#deps);
    const fetch: BlockReader['fetch'] = async (cid, { holders, signal = request.signal } = {}) => {
      if (holders !== undefined && !isLocalOnly)
        return this.#fetchLocated(cid, holders, { retryForMs, signal });
      if (!isLocalOnly && !isPinned)
        return this.#shared.get(cid, (options) => this.#find(cid, options), { client, signal });
      const here = await this.#fetchHere(cid, { signal });
      if (here !== undefined) return here;
      if (isLocalOnly) throw new NotCached({ cid });
      return this.#fetchLocated(cid, this.#locator.locate(cid), { retryForMs, signal });
    };
    const spend: BlockReader['spend'] = (cid, readBytes) => budget?.spend(cid, readBytes);
    const fetchHere = (cid: Cid) => this.#fetchHere(cid, request);
    return {
      ...createNodeReads({ memory: this.#nodes, fetch, fetchHere, spend }, request),
      isLocalOnly,
      fetch,
      locate: async (cid) => (isLocalOnly ? [] : this.#locator.locate(cid)),
      isHere: (cid) => this.#locator.isHere(cid),
      spend,
      holdLinks: () => this.#links.open(),
    };
  }

  /** From our own storage, else from others; that nobody has it is known for a moment. */
  async #find(cid: Cid, { signal }: { signal: AbortSignal }): Promise<ReceivedBlock> {
    const here = await this.#fetchHere(cid, { signal });
    if (here !== undefined) return here;
    if (this.#nobodyHas.has(cid)) throw this.#absent(cid);
    const holders = await this.#locator.locateElsewhere(cid);
    if (holders.length === 0) this.#nobodyHas.set(cid, true);
    const retryForMs = holders.length === 0 ? 0 : HELD_RETRY_FOR_MS;
    return this.#fetchLocated(cid, Promise.resolve(holders), { retryForMs, signal });
  }

  /** From our own storage; undefined when it is not there. */
  async #fetchHere(
    cid: Cid,
    { signal }: { signal: AbortSignal },
  ): Promise<ReceivedBlock | undefined> {
    try {
      return await this.#deps.ask({ cid, sizeBytes: undefined }, 'own', { signal });
    } catch {
      signal.throwIfAborted();
      return undefined;
    }
  }

  /** From these members. When they fail, or there are none, it is located and tried again for that long. */
  async #fetchLocated(
    cid: Cid,
    located: Promise<readonly Member[]>,
    { retryForMs, signal }: { retryForMs: number; signal: AbortSignal },
  ): Promise<ReceivedBlock> {
    const startedAtMs = performance.now();
    for (let holders = await located; ; holders = await this.#locator.locate(cid)) {
      signal.throwIfAborted();
      const tried = await this.#tryFrom(holders, cid, { signal });
      if (!(tried instanceof Error)) return tried;
      if (performance.now() - startedAtMs >= retryForMs) throw tried;
      await sleep(RETRY_DELAY_MS, undefined, { signal });
    }
  }

  /** The block, or why these members, which were asked for it just now, did not give it. */
  async #tryFrom(
    holders: readonly Member[],
    cid: Cid,
    { signal }: { signal: AbortSignal },
  ): Promise<ReceivedBlock | Error> {
    if (holders.length === 0) return this.#absent(cid);
    try {
      const want = { cid, sizeBytes: undefined };
      const providers = { said: holders };
      return await this.#deps.fetchBlock(want, { providers: () => providers }, { signal });
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof BlockUnavailable) return error;
      throw error;
    }
  }

  #absent(cid: Cid): Error {
    return new BlockAbsent({ cid, peersAsked: this.#deps.view.asked().length });
  }

  [Symbol.dispose](): void {
    this.#shared[Symbol.dispose]();
  }
}
