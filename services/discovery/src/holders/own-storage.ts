/**
 * Discovery's questions to this peer's own storage: have-maps and figures. Storage may be down or starting;
 * then the peer does not know what it holds, and says so.
 */
import type { Log, Loops, PeerClient, Turn } from '@shoal/chassis';
import { DOMAIN_UNKNOWN, SPACE_MAX_BYTES, storageRoutes, type StorageStats } from '@shoal/protocol';
import { createOwnHaveMaps, type ReadHaveMap } from './own-have-maps.ts';
import { OwnLosses } from './own-losses.ts';
import type { State } from '../state/state.ts';

const STATS_TIMEOUT_MS = 2000;
/** Figures are asked for soon until the first answer, then at the pace of the heartbeat, and rarely while they stay the same. */
const STATS_FIRST_MS = 500;
const STATS_MS = 5000;
const STATS_REST_MS = 30_000;
/** Of the capacity: a change of what is free that is worth telling. */
const FREE_CHANGE_SHARE = 0.01;

/** The figures before storage answered for the first time: no room, on an unknown disk. */
const NO_STATS: StorageStats = {
  blocks: 0,
  usedBytes: 0,
  freeBytes: 0,
  capacityBytes: 0,
  domain: { host: DOMAIN_UNKNOWN, disk: DOMAIN_UNKNOWN },
};

export interface OwnStorage extends Disposable {
  /** The have-map of a DAG at this peer, or that it is unknown. */
  readHaveMap: ReadHaveMap;
  readonly losses: Pick<OwnLosses, 'count'>;
  /** The last figures, from an earlier run if need be, as a member's record takes them. */
  space(): Omit<StorageStats, 'limit'>;
  /** Asks for figures until disposed; calls back when there are some, and when capacity or failure domain changed. */
  watch(options: {
    readonly loops: Loops;
    readonly onMove: () => void;
    readonly onFigures: () => void;
  }): AsyncDisposable;
}

export function createOwnStorage(deps: {
  readonly client: PeerClient;
  readonly state: Pick<State, 'loadStats' | 'saveStats'>;
  readonly log: Log;
}): OwnStorage {
  const { client, state, log } = deps;
  const haveMaps = createOwnHaveMaps({ client, log });
  const losses = new OwnLosses();
  let stats = state.loadStats() ?? NO_STATS;
  /** Pause before they are asked for again. */
  let pauseMs = STATS_FIRST_MS;

  /** Returns whether capacity or failure domain changed. */
  const poll = async ({ signal }: Turn): Promise<boolean> => {
    const target = client.own('storage');
    const options = { signal, timeoutMs: STATS_TIMEOUT_MS };
    const now = await client.call(target, storageRoutes.stats, {}, options);
    const isMoved = fixedFacts(now) !== fixedFacts(stats);
    const isSame = areSame(now, stats);
    pauseMs = isSame ? Math.min(STATS_REST_MS, pauseMs * 2) : STATS_MS;
    if (!isSame) stats = now;
    // Only for the next start, so an announcement does not wait for it.
    if (isMoved)
      await state.saveStats(now).catch((err: unknown) => log.warn({ err }, 'figures not saved'));
    return isMoved;
  };
  return {
    losses,
    space: () => spaceOf(stats),
    readHaveMap: (root) => haveMaps.read(root),
    watch({ loops, onMove, onFigures }) {
      const stack = new AsyncDisposableStack();
      stack.use(losses.follow({ client, loops, log }));
      stack.use(
        loops.start({
          name: 'storage-figures',
          everyMs: () => pauseMs,
          run: async (turn) => {
            if (await poll(turn)) onMove();
            else onFigures();
          },
          onFailure: (err) => log.debug({ err }, 'storage gives no figures'),
        }),
      );
      return stack;
    },
    [Symbol.dispose]: () => haveMaps[Symbol.dispose](),
  };
}

/** Figures of storage as a record takes them: some file systems state absurd ones. */
function spaceOf(stats: StorageStats): Omit<StorageStats, 'limit'> {
  const bounded = (sizeBytes: number) => Math.min(sizeBytes, SPACE_MAX_BYTES);
  return {
    blocks: stats.blocks,
    capacityBytes: bounded(stats.capacityBytes),
    usedBytes: bounded(stats.usedBytes),
    freeBytes: bounded(stats.freeBytes),
    domain: stats.domain,
  };
}

/** Free space changes with all else that is on the disk, by a little all the time. */
function areSame(a: StorageStats, b: StorageStats): boolean {
  const isFreeSame = Math.abs(a.freeBytes - b.freeBytes) <= FREE_CHANGE_SHARE * a.capacityBytes;
  const facts = ({ blocks, usedBytes, limit }: StorageStats) =>
    JSON.stringify([blocks, usedBytes, limit]);
  return isFreeSame && facts(a) === facts(b) && fixedFacts(a) === fixedFacts(b);
}

const fixedFacts = ({ capacityBytes, domain }: StorageStats) =>
  JSON.stringify([capacityBytes, domain.host, domain.disk]);
