/**
 * One block from many providers.
 *
 * They are asked one at a time, best first: racing them all would fetch the same bytes twice. A second one
 * is asked at once when the first fails or doesn't have it, and when the first takes longer than it nearly
 * ever does (a hedge, within a budget). The first right bytes win and the losers are cancelled.
 * When all known providers failed, `findMore` may know others, because peers come and go; before it does,
 * nobody is asked a second time.
 */
import { BlockUnavailable, type Cid, type PeerId } from '@shoal/protocol';
import type { Outcome, Ranking } from '@shoal/swarm';
import { outcomeOf } from './receive-block.ts';

export interface Provider {
  readonly peerId: PeerId;
}

/** Something to release after use: see receive-block.ts. */
export interface Releasable {
  readonly release: () => void;
}

/** How one provider was asked, and how that ended. */
export interface Attempt {
  readonly outcome: Outcome;
  readonly durationMs: number;
  /** It was asked beside a slower one. */
  readonly isHedge: boolean;
}

export interface RaceDeps<P extends Provider, Block extends Releasable> {
  readonly ranking: Ranking;
  /** Asks one provider; rejects when it lacks the block, fails, hangs or lies. */
  readonly receive: (provider: P, options: { signal: AbortSignal }) => Promise<Block>;
  /** The best of the providers known now, those that were tried left out. */
  readonly next: (tried: ReadonlySet<PeerId>) => P | undefined;
  /** Called when all of them failed: waits or looks for more. True when it is worth asking all again. */
  readonly findMore: (options: { signal: AbortSignal }) => Promise<boolean>;
  readonly nowMs: () => number;
  readonly onEnd: (provider: P, attempt: Attempt) => void;
  readonly onHedge: () => void;
}

/**
 * Gets one verified block.
 * @throws BlockUnavailable when every provider failed; its `cause` holds one error for each.
 * @throws The signal's reason when it fires.
 */
export async function raceProviders<P extends Provider, Block extends Releasable>(
  cid: Cid,
  deps: RaceDeps<P, Block>,
  { signal }: { signal: AbortSignal },
): Promise<Block> {
  const over = new AbortController();
  const failures: Error[] = [];
  const tried = new Set<PeerId>();
  const asked = new Set<PeerId>();
  const running = new Map<PeerId, Promise<Block | undefined>>();
  let winner: Block | undefined;

  const ending = AbortSignal.any([signal, over.signal]);
  /** Asks one provider; resolves to undefined when it failed, so that a race goes on. */
  const ask = async (provider: P, isHedge: boolean): Promise<Block | undefined> => {
    const { peerId } = provider;
    const startedAtMs = deps.nowMs();
    const end = (outcome: Outcome) => {
      running.delete(peerId);
      const durationMs = deps.nowMs() - startedAtMs;
      deps.ranking.ended(peerId, outcome, durationMs, deps.nowMs());
      deps.onEnd(provider, { outcome, durationMs, isHedge });
    };
    deps.ranking.started(peerId);
    try {
      const block = await deps.receive(provider, { signal: ending });
      end('verified');
      if (winner !== undefined || signal.aborted) block.release();
      else winner = block;
      return winner;
    } catch (cause) {
      end(outcomeOf(cause, ending));
      if (!ending.aborted) failures.push(cause instanceof Error ? cause : new Error(String(cause)));
      return undefined;
    }
  };
  const start = (provider: P, { isHedge }: { readonly isHedge: boolean }): void => {
    tried.add(provider.peerId);
    asked.add(provider.peerId);
    running.set(provider.peerId, ask(provider, isHedge));
  };

  try {
    for (;;) {
      signal.throwIfAborted();
      if (running.size === 0) {
        const provider = deps.next(tried);
        if (provider === undefined) {
          if (await deps.findMore({ signal })) {
            tried.clear();
            continue;
          }
          signal.throwIfAborted();
          const cause = new AggregateError(failures, 'every provider failed');
          throw new BlockUnavailable({ cid, providersTried: asked.size }, { cause });
        }
        start(provider, { isHedge: false });
      }
      const slowest = [...running.keys()].at(-1);
      const patience = slowest === undefined ? undefined : deps.ranking.hedgeDelayMs(slowest);
      const block = await firstOf([...running.values()], patience);
      if (block !== undefined && block !== 'slow') return block;
      signal.throwIfAborted();
      if (block === 'slow') {
        const second = deps.next(tried);
        if (second !== undefined && deps.ranking.takeHedge()) {
          deps.onHedge();
          start(second, { isHedge: true });
        } else await firstOf([...running.values()], undefined);
        if (winner !== undefined) return winner;
      }
    }
  } finally {
    over.abort(new Error('another provider was faster'));
  }
}

/** The first of these to end, or `slow` when none does in time. */
async function firstOf<Block>(
  attempts: readonly Promise<Block | undefined>[],
  patienceMs: number | undefined,
): Promise<Block | undefined | 'slow'> {
  if (patienceMs === undefined) return Promise.race(attempts);
  let timer: NodeJS.Timeout | undefined;
  const slow = new Promise<'slow'>((resolve) => {
    timer = setTimeout(resolve, patienceMs, 'slow');
  });
  try {
    return await Promise.race([...attempts, slow]);
  } finally {
    clearTimeout(timer);
  }
}
