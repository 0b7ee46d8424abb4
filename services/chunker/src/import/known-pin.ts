import { type Cid, discoveryRoutes, isFileMissing, type PinDraft } from '@shoal/protocol';
import type { IntakeDeps } from '../intake/intake.ts';

/** The pin of a root that the swarm keeps already: its members have the blocks then. */
export async function findKnownPin(
  root: Cid,
  { client }: Pick<IntakeDeps, 'client'>,
  { signal }: { signal: AbortSignal },
): Promise<
  Pick<PinDraft, 'root' | 'kind' | 'name' | 'sizeBytes' | 'sha256' | 'blocks'> | undefined
> {
  try {
    const { kind, name, sizeBytes, sha256, blocks } = await client.call(
      client.own('discovery'),
      discoveryRoutes.getPin,
      { params: { hash: root }, query: { ask: 'false' } },
      { signal },
    );
    return { root, kind, name, sizeBytes, sha256, blocks };
  } catch (error) {
    if (isFileMissing(error)) return undefined;
    throw error;
  }
}
