/**
 * What discovery asks this peer's own storage: have-maps and figures. Storage may be down or starting;
 * then the peer holds nothing that it could serve, and says so.
 */
import type { Log, PeerClient } from '@shoal/chassis';
import { type Cid, type HaveMap, storageRoutes, type StorageStats } from '@shoal/protocol';
import { createOwnHaveMaps } from './own-have-maps.ts';
import { repeat } from './repeat.ts';
import type { State } from './state.ts';

const STATS_TIMEOUT_MS = 2000;
/** Figures are asked for soon until the first answer, then at the pace of the heartbeat. */
const STATS_FIRST_MS = 500;
const STATS_MS = 5000;

/** What is said before storage answered for the first time: no room, a disk like everybody's. */
const NO_STATS: StorageStats = {
  blocks: 0,
  usedBytes: 0,
  freeBytes: 0,
  capacityBytes: 0,
  domain: { host: 'unknown', disk: 'unknown' },
};

export interface OwnStorage extends Disposable {
  /** What this peer holds of a DAG; undefined for nothing, or when it can't be told. */
  readHaveMap(root: Cid): Promise<HaveMap | undefined>;
  /** The last figures, from an earlier run if need be. */
  stats(): StorageStats;
}

export function watchOwnStorage(deps: {
  readonly client: PeerClient;
  readonly state: State;
  /** Capacity or failure domain differ from before. */
  readonly onMove: () => void;
  readonly log: Log;
}): OwnStorage {
  const { client, state, onMove, log } = deps;
  const stop = new AbortController();
  const haveMaps = createOwnHaveMaps({ client, log });
  let stats = state.loadStats() ?? NO_STATS;
  let isAnswered = false;

  const poll = async (): Promise<void> => {
    const target = client.own('storage');
    const options = { signal: stop.signal, timeoutMs: STATS_TIMEOUT_MS };
    const now = await client.call(target, storageRoutes.stats, {}, options);
    const isMoved = fixedFacts(now) !== fixedFacts(stats);
    stats = now;
    isAnswered = true;
    if (!isMoved) return;
    // Only for the next start: what the others are told does not wait for it.
    await state.saveStats(now).catch((err: unknown) => log.warn({ err }, 'figures not saved'));
    onMove();
  };
  const polls = repeat(
    poll,
    () => (isAnswered ? STATS_MS : STATS_FIRST_MS),
    (err) => log.debug({ err }, 'storage gives no figures'),
  );
  return {
    stats: () => stats,
    readHaveMap: (root) => haveMaps.read(root),
    [Symbol.dispose]() {
      stop.abort(new Error('stopping'));
      polls[Symbol.dispose]();
      haveMaps[Symbol.dispose]();
    },
  };
}

const fixedFacts = ({ capacityBytes, domain }: StorageStats) =>
  JSON.stringify([capacityBytes, domain.host, domain.disk]);
