/** The pin of a file that somebody wants to read. */
import type { PeerClient } from '@shoal/chassis';
import { discoveryRoutes, type FileHash, type Pin, ServiceUnavailable } from '@shoal/protocol';
import { setTimeout as sleep } from 'node:timers/promises';

/** A discovery service that crashed is back within seconds: a reader waits rather than fails. */
const AWAY_MAX_MS = 6000;
const RETRY_DELAY_MS = 200;

/** @throws FileNotFound, FileGone; ServiceUnavailable when our discovery stays away. */
export async function findPin(
  hash: FileHash,
  client: PeerClient,
  { signal }: { signal: AbortSignal },
): Promise<Pin> {
  const startedAtMs = performance.now();
  for (;;)
    try {
      const args = { params: { hash } };
      return await client.call(client.own('discovery'), discoveryRoutes.getPin, args, { signal });
    } catch (error) {
      signal.throwIfAborted();
      const isAway = error instanceof ServiceUnavailable;
      if (!isAway || performance.now() - startedAtMs > AWAY_MAX_MS) throw error;
      await sleep(RETRY_DELAY_MS, undefined, { signal });
    }
}
