/**
 * Small blocks on their way to the peers that placement names, as whole files that are about to be pinned or under
 * the lease of an upload that has many: the bytes ride in the offer, and
 * the answer, with its proof, is the confirmation. Ours is one of those peers or it is not; then the blocks are not
 * stored here at all, unless too few of the others take them.
 *
 * The caller is answered as soon as each block has the copies that it waits for; the rest goes on, and what that
 * misses settling finds, once the file is pinned.
 */
import { batchesOf } from '@shoal/blocks';
import type { Log, PeerClient } from '@shoal/chassis';
import {
  type Cid,
  CIDS_PER_BATCH_MAX,
  type Lease,
  type Member,
  type PeerId,
  storageRoutes,
  transferRoutes,
} from '@shoal/protocol';
import type { Metrics } from '../metrics.ts';
import { ableHolders, type MemberView, targetOf } from '../peers/member-view.ts';
import type { CopyProofs } from './copy-proofs.ts';
import { endIfReleased, type ReleasedLeases } from './end-leases.ts';
import { bodyOf, type SentBlock } from './sent-blocks.ts';

/** Longest wait for a peer to take blocks. Past it: the next in the order is its stand-in. */
const TAKE_TIMEOUT_MS = 10_000;
/** A caller that still waits after this long has the blocks stored here as well, wherever they belong. */
const STAND_IN_AFTER_MS = 1000;

export interface SpreadDeps {
  readonly client: PeerClient;
  readonly view: MemberView;
  readonly proofs: CopyProofs;
  readonly released: ReleasedLeases;
  readonly metrics: Metrics;
  readonly log: Log;
}

export interface SpreadWishes {
  /** Copies of each block to make. */
  readonly replicas: number;
  /** Copies to wait for. */
  readonly copies: number;
  /** It holds them until a pin does; if undefined, they are whole files that a pin reaches in a moment. */
  readonly lease?: Lease | undefined;
}

/** Confirmed copies of a block. */
export interface SpreadBlock {
  readonly cid: Cid;
  readonly copies: number;
}

/** Answers for each block, in order, how many copies were confirmed by then. */
export async function spreadBlocks(
  blocks: readonly SentBlock[],
  wishes: SpreadWishes,
  deps: SpreadDeps,
  { signal }: { signal: AbortSignal },
): Promise<SpreadBlock[]> {
  const spread = new Spread(blocks, wishes, deps, signal);
  const run = spread.run();
  run.catch((err: unknown) => deps.log.warn({ err }, 'small blocks not spread'));
  await Promise.race([run, spread.enough]);
  return blocks.map(({ cid }) => ({ cid, copies: spread.copiesOf(cid) }));
}

class Spread {
  /** Resolves when each block has the copies that are waited for. */
  readonly enough: Promise<void>;
  readonly #setEnough: () => void;
  readonly #blocks: readonly SentBlock[];
  readonly #wishes: SpreadWishes;
  readonly #deps: SpreadDeps;
  readonly #signal: AbortSignal;
  readonly #confirmed: ReadonlyMap<Cid, Set<PeerId>>;
  readonly #failed = new Set<PeerId>();
  #storing: Promise<void> | undefined;

  constructor(
    blocks: readonly SentBlock[],
    wishes: SpreadWishes,
    deps: SpreadDeps,
    signal: AbortSignal,
  ) {
    // Two uploads of the same bytes may be in one batch.
    this.#blocks = [...new Map(blocks.map((block) => [block.cid, block])).values()];
    this.#wishes = wishes;
    this.#deps = deps;
    this.#signal = signal;
    this.#confirmed = new Map(this.#blocks.map(({ cid }) => [cid, new Set<PeerId>()]));
    const { promise, resolve } = Promise.withResolvers<void>();
    this.enough = promise;
    this.#setEnough = resolve;
  }

  copiesOf(cid: Cid): number {
    return this.#confirmed.get(cid)?.size ?? 0;
  }

  /** Resolves when no more copies can be had. @throws Problem when our own storage can't take what it must. */
  async run(): Promise<void> {
    const timer = setTimeout(() => {
      this.#storeHere(this.#below(this.#wishes.copies)).catch(() => undefined); // tried again below
    }, STAND_IN_AFTER_MS);
    try {
      for (;;) {
        const plan = this.#plan();
        if (plan.size === 0) break;
        await Promise.all([...plan].map(([member, some]) => this.#hand(member, some)));
      }
    } finally {
      clearTimeout(timer);
    }
    await this.#storeHere(this.#below(this.#wishes.replicas));
  }

  /** Each block to the first peers of its order that can be asked, did not fail, and have not confirmed it. */
  #plan(): Map<Member, SentBlock[]> {
    const { view } = this.#deps;
    const plan = new Map<Member, SentBlock[]>();
    for (const block of this.#blocks)
      for (const member of ableHolders(view, block.cid, this.#wishes.replicas, this.#failed))
        if (this.#confirmed.get(block.cid)?.has(member.peerId) !== true)
          plan.set(member, [...(plan.get(member) ?? []), block]);
    return plan;
  }

  /** Whatever goes wrong, that peer is not asked again. */
  async #hand(member: Member, blocks: readonly SentBlock[]): Promise<void> {
    const { peerId } = member;
    const { metrics, log } = this.#deps;
    try {
      const taken = member.isSelf
        ? [await this.#storeHere(blocks)]
        : await Promise.all(
            [...batchesOf(blocks, CIDS_PER_BATCH_MAX)].map((some) => this.#send(member, some)),
          );
      if (taken.reduce((sum, each) => sum + each, 0) < blocks.length) this.#failed.add(peerId);
    } catch (err) {
      this.#signal.throwIfAborted();
      this.#failed.add(peerId);
      metrics.blocksReplicated.inc({ direction: 'out', outcome: 'failed' }, blocks.length);
      log.warn({ err, peer: peerId, blocks: blocks.length }, 'small blocks not taken');
    }
  }

  /** Answers how many of the blocks it took, and proved. */
  async #send(member: Member, blocks: readonly SentBlock[]): Promise<number> {
    const { client, proofs, metrics } = this.#deps;
    const question = proofs.questionOf(member.peerId, blocks);
    const { replicas, lease } = this.#wishes;
    const answer = await client.send(
      targetOf(member, 'transfer', client),
      transferRoutes.takeBlocks,
      { query: { replicas, lease, nonce: question.nonce }, bytes: bodyOf(blocks) },
      { signal: this.#signal, timeoutMs: TAKE_TIMEOUT_MS },
    );
    const isProved = await question.check(
      answer.proofs,
      (at) => answer.cids[at] === blocks[at]?.cid,
    );
    const taken = blocks.filter((_, at) => isProved[at] === true);
    metrics.blocksReplicated.inc({ direction: 'out', outcome: 'copied' }, taken.length);
    this.#confirm(member.peerId, taken);
    return taken.length;
  }

  /** Stores in turn, so that no block is stored twice. */
  async #storeHere(wanted: readonly SentBlock[]): Promise<number> {
    const before = this.#storing;
    const storing = (async () => {
      await before?.catch(() => undefined); // its own caller hears of it
      const { client, view, released } = this.#deps;
      const { replicas, lease } = this.#wishes;
      const blocks = wanted.filter(({ cid }) => !this.#confirmed.get(cid)?.has(view.self));
      if (blocks.length === 0) return;
      await client.send(
        client.own('storage'),
        storageRoutes.addBlocks,
        { query: lease === undefined ? { replicas } : { lease }, bytes: bodyOf(blocks) },
        { signal: this.#signal },
      );
      if (lease !== undefined)
        await endIfReleased(lease, released, client, { signal: this.#signal });
      this.#confirm(view.self, blocks);
    })();
    this.#storing = storing;
    await storing;
    return wanted.length;
  }

  #below(copies: number): SentBlock[] {
    return this.#blocks.filter(({ cid }) => this.copiesOf(cid) < copies);
  }

  #confirm(peerId: PeerId, blocks: readonly SentBlock[]): void {
    for (const { cid } of blocks) this.#confirmed.get(cid)?.add(peerId);
    if (this.#below(this.#wishes.copies).length === 0) this.#setEnough();
  }
}
