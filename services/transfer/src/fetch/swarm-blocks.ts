/**
 * Any block of the swarm, for whoever asks this peer: from our own storage, else from a member whose
 * storage confirms it. Storages answer for themselves alone, so a question travels one hop and no
 * further, and what nobody has is known as soon as all have said so.
 *
 * Clients that were told of this peer ask it for much that nobody has (Kubo asks whoever it is
 * connected to), so a no is remembered for a moment.
 */
import type { BufferPool, Log, PeerClient } from '@shoal/chassis';
import {
  BlockAbsent,
  BlockCorrupt,
  BlockNotFound,
  BlockUnavailable,
  type Cid,
  type Member,
} from '@shoal/protocol';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BlockSource } from './listed-blocks.ts';
import { createHaveQuestions } from './have-questions.ts';
import type { MemberView } from '../peers/member-view.ts';
import { receiveBlock, type ReceivedBlock } from './receive-block.ts';
import type { ReportCorrupt } from '../peers/report-corrupt.ts';
import { createSharedBlocks } from './shared-blocks.ts';

/** After the first yes, others may say yes as well for this long: a fetch needs more than one name. */
const MORE_HOLDERS_MS = 20;
/** How long a no is remembered, and of how many blocks. */
const ABSENT_FOR_MS = 1000;
const ABSENT_MAX = 4096;
/**
 * A block that somebody just confirmed is worth more than one try: a busy holder, or one that drops its
 * surplus copy in that moment. IPFS clients shun a host for a 5xx, and wait 10 s for a first byte.
 */
const HELD_RETRY_FOR_MS = 3000;
/** Pause before a block that must be somewhere is looked for again. */
const RETRY_DELAY_MS = 250;

export interface FindBlock extends Disposable {
  /** One verified block, whoever has it; the caller releases it. @throws BlockAbsent, BlockUnavailable, Overloaded */
  get(
    cid: Cid,
    options: { readonly client: string; readonly signal: AbortSignal },
  ): Promise<ReceivedBlock>;
  /** The same from our own storage alone; undefined when it is not there. */
  getHere(cid: Cid, options: { signal: AbortSignal }): Promise<ReceivedBlock | undefined>;
  /** Whether our own storage has it. */
  isHere(cid: Cid): Promise<boolean>;
  /** Who has it: ourselves alone when we do. */
  locate(cid: Cid): Promise<readonly Member[]>;
  /**
   * Gets a block that was located before. When its holders fail, or there were none, it is looked for
   * again for as long as `retryForMs`. @throws BlockAbsent, BlockUnavailable
   */
  fetch(
    cid: Cid,
    holders: Promise<readonly Member[]>,
    options: { retryForMs: number; signal: AbortSignal },
  ): Promise<ReceivedBlock>;
}

/** @param signal Ends questions under way. */
export function createFindBlock(
  deps: {
    readonly client: PeerClient;
    readonly view: MemberView;
    readonly source: BlockSource;
    readonly pool: BufferPool;
    readonly reportCorrupt: ReportCorrupt;
    readonly stallMs: number;
    readonly timeoutMs: number;
    readonly log: Log;
  },
  { signal: running }: { signal: AbortSignal },
): FindBlock {
  const { client, view, source, reportCorrupt, log } = deps;
  const questions = createHaveQuestions({ client, log }, { signal: running });
  const shared = createSharedBlocks();
  const absentUntilMs = new Map<Cid, number>();

  const getHere: FindBlock['getHere'] = async (cid, { signal }) => {
    try {
      return await receiveBlock(deps, client.own('storage'), cid, undefined, { signal });
    } catch (err) {
      signal.throwIfAborted();
      const self = view.get(view.self);
      if (err instanceof BlockCorrupt && self !== undefined) reportCorrupt(self, cid);
      if (!(err instanceof BlockNotFound)) log.debug({ err, cid }, 'own storage did not give it');
      return undefined;
    }
  };
  const isHere = async (cid: Cid): Promise<boolean> => {
    const self = view.get(view.self);
    return self !== undefined && (await questions.has(self, cid));
  };
  const locateElsewhere = async (cid: Cid): Promise<readonly Member[]> => {
    const holders: Member[] = [];
    const answers = view
      .asked()
      .filter(({ isSelf }) => !isSelf)
      .map(async (member) => {
        if (!(await questions.has(member, cid))) throw new Error('no');
        holders.push(member);
      });
    const all = Promise.allSettled(answers);
    const enough = Promise.any(answers).then(
      () => sleep(MORE_HOLDERS_MS),
      () => undefined,
    );
    await Promise.race([all, enough]);
    return [...holders];
  };
  const locate = async (cid: Cid): Promise<readonly Member[]> => {
    const self = view.get(view.self);
    return self !== undefined && (await isHere(cid)) ? [self] : locateElsewhere(cid);
  };
  const absent = (cid: Cid) => new BlockAbsent({ cid, peersAsked: view.asked().length });

  const fetch: FindBlock['fetch'] = async (cid, located, { retryForMs, signal }) => {
    const startedAtMs = performance.now();
    for (let holders = await located; ; holders = await locate(cid)) {
      signal.throwIfAborted();
      let failure: Error = absent(cid);
      if (holders.length > 0)
        try {
          return await source.fetchFrom(cid, holders, { signal });
        } catch (error) {
          signal.throwIfAborted();
          if (!(error instanceof BlockUnavailable)) throw error;
          failure = error;
        }
      if (performance.now() - startedAtMs >= retryForMs) throw failure;
      await sleep(RETRY_DELAY_MS, undefined, { signal });
    }
  };
  const find = async (cid: Cid, signal: AbortSignal): Promise<ReceivedBlock> => {
    const here = await getHere(cid, { signal });
    if (here !== undefined) return here;
    if ((absentUntilMs.get(cid) ?? 0) > performance.now()) throw absent(cid);
    const holders = await locateElsewhere(cid);
    if (holders.length === 0) noteAbsent(cid);
    const retryForMs = holders.length === 0 ? 0 : HELD_RETRY_FOR_MS;
    return fetch(cid, Promise.resolve(holders), { retryForMs, signal });
  };
  const noteAbsent = (cid: Cid): void => {
    absentUntilMs.delete(cid); // back to the end: the oldest goes first
    absentUntilMs.set(cid, performance.now() + ABSENT_FOR_MS);
    const [oldest] = absentUntilMs.keys();
    if (absentUntilMs.size > ABSENT_MAX && oldest !== undefined) absentUntilMs.delete(oldest);
  };
  return {
    get: (cid, options) => shared.get(cid, ({ signal }) => find(cid, signal), options),
    getHere,
    isHere,
    locate,
    fetch,
    [Symbol.dispose]: () => shared[Symbol.dispose](),
  };
}
