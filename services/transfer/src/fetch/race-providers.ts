/**
 * ⑦ Fetch: one block from many providers.
 *
 * Providers are asked one at a time, best first: racing them all would fetch the same bytes twice.
 * A second one is asked at once when the first fails, and when the first takes longer than it nearly
 * ever does (a hedge, within a budget). The first right bytes win and the losers are cancelled.
 * When all known providers failed, `findMore` may know others, because peers come and go.
 */
import { BlockCorrupt, BlockUnavailable, type Cid, type PeerId } from '@shoal/protocol';
import type { Outcome, Ranking } from '@shoal/swarm';

export interface Provider {
  readonly peerId: PeerId;
}

/** Something to release after use: see receive-block.ts. */
export interface Releasable {
  readonly release: () => void;
}

export interface FetchDeps<P extends Provider, Block extends Releasable> {
  readonly ranking: Ranking;
  /** Asks one provider; rejects when it lacks the block, fails, hangs or lies. */
  readonly receive: (provider: P, options: { signal: AbortSignal }) => Promise<Block>;
  /** Providers known now. */
  readonly providers: () => readonly P[];
  /** The order in which to ask these, best first. */
  readonly order: (providers: readonly P[]) => readonly P[];
  /** Called when all of them failed: waits or looks for more. True when it is worth asking all again. */
  readonly findMore: (options: { signal: AbortSignal }) => Promise<boolean>;
  readonly nowMs: () => number;
  readonly onEnd: (provider: P, outcome: Outcome, error: Error | undefined) => void;
  readonly onHedge: () => void;
}

/**
 * Gets one verified block.
 * @throws BlockUnavailable when every provider failed; its `cause` holds one error for each.
 * @throws The signal's reason when it fires.
 */
export async function fetchBlock<P extends Provider, Block extends Releasable>(
  cid: Cid,
  deps: FetchDeps<P, Block>,
  { signal }: { signal: AbortSignal },
): Promise<Block> {
  const over = new AbortController();
  const failures: Error[] = [];
  const tried = new Set<PeerId>();
  const asked = new Set<PeerId>();
  const running = new Map<PeerId, Promise<Block | undefined>>();
  let winner: Block | undefined;

  const nextProvider = (): P | undefined => {
    const untried = deps.providers().filter(({ peerId }) => !tried.has(peerId));
    return deps.order(untried)[0];
  };
  /** Asks one provider; resolves to undefined when it failed, so that a race goes on. */
  const ask = async (provider: P): Promise<Block | undefined> => {
    const { peerId } = provider;
    const startedAtMs = deps.nowMs();
    const end = (outcome: Outcome, error?: Error) => {
      running.delete(peerId);
      deps.ranking.ended(peerId, outcome, deps.nowMs() - startedAtMs, deps.nowMs());
      deps.onEnd(provider, outcome, error);
    };
    deps.ranking.started(peerId);
    try {
      const block = await deps.receive(provider, {
        signal: AbortSignal.any([signal, over.signal]),
      });
      end('verified');
      if (winner !== undefined || signal.aborted) block.release();
      else winner = block;
      return winner;
    } catch (cause) {
      const error = cause instanceof Error ? cause : new Error(String(cause));
      if (signal.aborted || over.signal.aborted) {
        end('cancelled');
        return undefined;
      }
      end(error instanceof BlockCorrupt ? 'corrupt' : 'failed', error);
      failures.push(error);
      return undefined;
    }
  };
  const start = (provider: P): void => {
    tried.add(provider.peerId);
    asked.add(provider.peerId);
    running.set(provider.peerId, ask(provider));
  };

  try {
    for (;;) {
      signal.throwIfAborted();
      if (running.size === 0) {
        const provider = nextProvider();
        if (provider === undefined) {
          if (await deps.findMore({ signal })) {
            tried.clear();
            continue;
          }
          signal.throwIfAborted();
          const cause = new AggregateError(failures, 'every provider failed');
          throw new BlockUnavailable({ cid, providersTried: asked.size }, { cause });
        }
        start(provider);
      }
      const slowest = [...running.keys()].at(-1);
      const patience = slowest === undefined ? undefined : deps.ranking.hedgeDelayMs(slowest);
      const block = await firstOf([...running.values()], patience);
      if (block !== undefined && block !== 'slow') return block;
      signal.throwIfAborted();
      if (block === 'slow') {
        const second = nextProvider();
        if (second !== undefined && deps.ranking.takeHedge()) {
          deps.onHedge();
          start(second);
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
