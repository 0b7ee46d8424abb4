/**
 * A file's list of blocks, read from its manifest nodes. Nodes that are not here are fetched from
 * any member (every member has all manifests), verified, and stored: each of them once, though it may
 * occur in many places of the file.
 */
import { type DagEntry, listDag } from '@shoal/blocks';
import { createBlockMemory, type Log, type PeerClient, RecentMap } from '@shoal/chassis';
import { type Cid, type Pin, storageRoutes } from '@shoal/protocol';
import type { ListedBlocks, ListedDag } from '../fetch/listed-blocks.ts';
import { createTurns } from '../fetch/node-reads.ts';

/** Entries cached over all files, about 300 bytes each. */
const ENTRIES_CACHED_MAX = 65_536;
/** Nodes remembered while one file is listed; those of a file of 100 GiB fit. */
const LISTED_NODES_MAX_BYTES = 8 * 1024 * 1024;

export interface Manifests {
  /**
   * The blocks of a pinned file in DAG order. Nodes that `recall` has at hand are not fetched again.
   * @throws BlockUnavailable, ManifestInvalid
   */
  list(
    pin: Pick<Pin, 'root' | 'sizeBytes'>,
    dag: ListedDag,
    options: { signal: AbortSignal; recall?: (cid: Cid) => Uint8Array | undefined },
  ): Promise<readonly DagEntry[]>;
}

export function createManifests(deps: {
  readonly client: PeerClient;
  readonly log: Log;
}): Manifests {
  const { client, log } = deps;
  const cache = new RecentMap<Cid, readonly DagEntry[]>({
    max: ENTRIES_CACHED_MAX,
    weightOf: ({ length }) => length,
  });
  /** Stores a node that came from elsewhere; a failure costs the next reader a fetch, no more. */
  const store = async (cid: Cid, bytes: Uint8Array, signal: AbortSignal): Promise<void> => {
    try {
      const target = client.own('storage');
      await client.send(target, storageRoutes.putBlock, { params: { cid }, bytes }, { signal });
    } catch (err) {
      if (!signal.aborted) log.debug({ err, cid }, 'manifest node not stored');
    }
  };

  return {
    async list({ root, sizeBytes }, dag, { signal, recall }) {
      const known = cache.get(root);
      if (known !== undefined) return known;
      const seen = createBlockMemory(LISTED_NODES_MAX_BYTES);
      const turn = createTurns({ signal });
      const entries = await listDag(root, sizeBytes, async (cid) => {
        const again = seen.recall(cid);
        if (again !== undefined) {
          await turn(again);
          return again;
        }
        const bytes = recall?.(cid) ?? (await fetchNode(cid, root, dag, signal));
        await store(cid, bytes, signal);
        seen.remember(cid, bytes);
        return bytes;
      });
      if (entries.length <= ENTRIES_CACHED_MAX / 2) cache.set(root, entries);
      return entries;
    },
  };
}

async function fetchNode(
  cid: Cid,
  root: Cid,
  dag: ListedDag,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const want = { cid, index: cid === root ? 0 : undefined, sizeBytes: undefined };
  const { bytes, release } = await dag.fetch(want, { signal });
  try {
    return Uint8Array.from(bytes);
  } finally {
    release();
  }
}

/** The blocks of a pinned file, from our own manifest as a rule; others are asked only if need be. */
export async function listEntries(
  pin: Pin,
  { listed, manifests }: { readonly listed: ListedBlocks; readonly manifests: Manifests },
  { signal }: { signal: AbortSignal },
): Promise<readonly DagEntry[]> {
  const { root, replicas } = pin;
  using dag = listed.open(root, { signal, replicas, asksAtOnce: false });
  return await manifests.list(pin, dag, { signal });
}
