/**
 * What discovery asks this peer's own storage: have-maps and figures. Storage may be down or starting;
 * then the peer can't tell what it holds, and says so.
 */
import type { Log, Loops, PeerClient, Turn } from '@shoal/chassis';
import { DOMAIN_UNKNOWN, storageRoutes, type StorageStats } from '@shoal/protocol';
import { createOwnHaveMaps, type ReadHaveMap } from './own-have-maps.ts';
import type { State } from '../pins/state.ts';

const STATS_TIMEOUT_MS = 2000;
/** Figures are asked for soon until the first answer, then at the pace of the heartbeat. */
const STATS_FIRST_MS = 500;
const STATS_MS = 5000;

/** What is said before storage answered for the first time: no room, on a disk that can't be told. */
const NO_STATS: StorageStats = {
  blocks: 0,
  usedBytes: 0,
  freeBytes: 0,
  capacityBytes: 0,
  domain: { host: DOMAIN_UNKNOWN, disk: DOMAIN_UNKNOWN },
};

export interface OwnStorage extends Disposable {
  /** What this peer holds of a DAG, or that it can't be told. */
  readHaveMap: ReadHaveMap;
  /** The last figures, from an earlier run if need be. */
  stats(): StorageStats;
}

export function watchOwnStorage(deps: {
  readonly client: PeerClient;
  readonly state: State;
  /** Capacity or failure domain differ from before. */
  readonly onMove: () => void;
  readonly loops: Loops;
  readonly log: Log;
}): OwnStorage {
  const { client, state, onMove, loops, log } = deps;
  const haveMaps = createOwnHaveMaps({ client, log });
  let stats = state.loadStats() ?? NO_STATS;
  let isAnswered = false;

  const poll = async ({ signal }: Turn): Promise<void> => {
    const target = client.own('storage');
    const options = { signal, timeoutMs: STATS_TIMEOUT_MS };
    const now = await client.call(target, storageRoutes.stats, {}, options);
    const isMoved = fixedFacts(now) !== fixedFacts(stats);
    stats = now;
    isAnswered = true;
    if (!isMoved) return;
    // Only for the next start: what the others are told does not wait for it.
    await state.saveStats(now).catch((err: unknown) => log.warn({ err }, 'figures not saved'));
    onMove();
  };
  const polls = loops.start({
    name: 'storage-figures',
    everyMs: () => (isAnswered ? STATS_MS : STATS_FIRST_MS),
    run: poll,
    onFailure: (err) => log.debug({ err }, 'storage gives no figures'),
  });
  return {
    stats: () => stats,
    readHaveMap: (root) => haveMaps.read(root),
    [Symbol.dispose]() {
      polls[Symbol.dispose]();
      haveMaps[Symbol.dispose]();
    },
  };
}

const fixedFacts = ({ capacityBytes, domain }: StorageStats) =>
  JSON.stringify([capacityBytes, domain.host, domain.disk]);
