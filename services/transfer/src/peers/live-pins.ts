/** The pins of this peer's own discovery: the wish that everything here is to make true. */
import type { Log, PeerClient } from '@shoal/chassis';
import { type Cid, discoveryRoutes, type Pin, WANT_ROOTS_MAX } from '@shoal/protocol';

const PINS_PER_PAGE = 1000;
/** Questions for copies under way at once: each makes every member look up as many have-maps as it has roots. */
const COUNTS_AT_ONCE = 4;

export interface PinPage {
  readonly pins: readonly Pin[];
  /** Where to go on; undefined at the end. */
  readonly next: string | undefined;
  /** False while pins of others may be unknown here. */
  readonly isCurrent: boolean;
}

/** One page of the live pins, and those of deleted files that can be brought back, in the order of their roots. */
export async function listPins(
  after: string,
  client: PeerClient,
  { signal }: { signal: AbortSignal },
): Promise<PinPage> {
  const args = { query: { after, limit: PINS_PER_PAGE, deleted: 'true' } } as const;
  const { pins, next, isCurrent } = await client.call(
    client.own('discovery'),
    discoveryRoutes.listPins,
    args,
    { signal },
  );
  return { pins, next, isCurrent };
}

/** The fewest confirmed copies of each of these files; a file that nobody can tell of is left out. */
export async function countCopies(
  roots: readonly Cid[],
  { client, log }: { readonly client: PeerClient; readonly log: Log },
  { signal }: { signal: AbortSignal },
): Promise<Map<Cid, number>> {
  const counts = new Map<Cid, number>();
  const batches = Array.from({ length: Math.ceil(roots.length / WANT_ROOTS_MAX) }, (_, index) =>
    roots.slice(index * WANT_ROOTS_MAX, (index + 1) * WANT_ROOTS_MAX),
  ).values(); // shared: each asker takes the next one
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
