/** How many copies files have, by the members' own word. */
import { batchesOf } from '@shoal/blocks';
import type { Log, PeerClient } from '@shoal/chassis';
import { type Cid, discoveryRoutes, WANT_ROOTS_MAX } from '@shoal/protocol';

/** Questions under way at once: each makes every member look up as many have-maps as it has roots. */
const COUNTS_AT_ONCE = 4;

/** The fewest confirmed copies of each of these files; a file about which no member knows is left out. */
export async function countCopies(
  roots: readonly Cid[],
  { client, log }: { readonly client: PeerClient; readonly log: Log },
  { signal }: { signal: AbortSignal },
): Promise<Map<Cid, number>> {
  const counts = new Map<Cid, number>();
  const batches = [...batchesOf(roots, WANT_ROOTS_MAX)].values(); // shared: each asker takes the next one
  const ask = async (): Promise<void> => {
    for (const batch of batches)
      try {
        const args = { body: { roots: batch } };
        const { files } = await client.call(client.own('discovery'), discoveryRoutes.copies, args, {
          signal,
        });
        for (const { cid, copies } of files) if (copies !== undefined) counts.set(cid, copies);
      } catch (err) {
        signal.throwIfAborted();
        log.debug({ err, files: batch.length }, 'copies not counted');
      }
  };
  await Promise.all(Array.from({ length: COUNTS_AT_ONCE }, ask));
  return counts;
}
