import type { Log, PeerClient } from '@shoal/chassis';
import { discoveryRoutes } from '@shoal/protocol';

/** The member table changes by the second at most; small uploads must not ask for it each. */
const AGE_MAX_MS = 1000;
const ASK_TIMEOUT_MS = 2000;

/** Answers how many members are up, ourselves included, from a table at most a second old. */
export function createAliveCount({
  peers,
  log,
}: {
  readonly peers: PeerClient;
  readonly log: Log;
}): (options: { signal: AbortSignal }) => Promise<number> {
  let known = 1;
  let askedAtMs = -Infinity;
  return async ({ signal }) => {
    if (performance.now() - askedAtMs < AGE_MAX_MS) return known;
    try {
      const { members } = await peers.call(
        peers.own('discovery'),
        discoveryRoutes.members,
        {},
        { signal, timeoutMs: ASK_TIMEOUT_MS },
      );
      known = Math.max(1, members.filter(({ state }) => state === 'alive').length);
      askedAtMs = performance.now();
    } catch (err) {
      signal.throwIfAborted();
      log.debug({ err }, 'members not told, the last count stands');
    }
    return known;
  };
}
