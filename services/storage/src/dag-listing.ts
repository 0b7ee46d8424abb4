/**
 * The blocks of DAGs in DAG order, for have-maps. Listing reads every manifest node, and a DAG never
 * changes under its root, so what was listed is kept, packed, up to a bound on blocks.
 */
import { digestOf, listDag } from '@shoal/blocks';
import type { Cid } from '@shoal/protocol';
import type { Digest } from './blockstore.ts';

const DIGEST_SIZE_BYTES = 32;

export interface Listing {
  readonly blocks: number;
  digestAt(index: number): Digest;
  isNodeAt(index: number): boolean;
}

export interface DagListings {
  /** @throws ManifestIncomplete when a node is not held; ManifestInvalid. */
  list(root: Cid): Promise<Listing>;
}

export function createDagListings(deps: {
  readonly readNode: (cid: Cid) => Promise<Uint8Array | undefined>;
  /** Blocks over all the listings that are kept. */
  readonly blocksMax: number;
}): DagListings {
  const kept = new Map<Cid, Listing>(); // in the order of last use
  let keptBlocks = 0;

  const remember = (root: Cid, listing: Listing): void => {
    if (listing.blocks > deps.blocksMax || kept.has(root)) return;
    kept.set(root, listing);
    keptBlocks += listing.blocks;
    for (const [oldest, { blocks }] of kept) {
      if (keptBlocks <= deps.blocksMax) return;
      kept.delete(oldest);
      keptBlocks -= blocks;
    }
  };
  return {
    async list(root) {
      const known = kept.get(root);
      if (known !== undefined) {
        kept.delete(root);
        kept.set(root, known);
        return known;
      }
      const listing = pack(await listDag(root, undefined, deps.readNode));
      remember(root, listing);
      return listing;
    },
  };
}

function pack(entries: readonly { readonly cid: Cid; readonly kind: 'node' | 'leaf' }[]): Listing {
  const digests = Buffer.allocUnsafeSlow(entries.length * DIGEST_SIZE_BYTES);
  const isNode = new Uint8Array(entries.length);
  for (const [at, { cid, kind }] of entries.entries()) {
    digests.set(digestOf(cid), at * DIGEST_SIZE_BYTES);
    isNode[at] = kind === 'node' ? 1 : 0;
  }
  return {
    blocks: entries.length,
    // The bytes were those of a digest.
    digestAt: (at) =>
      digests.toString('hex', at * DIGEST_SIZE_BYTES, (at + 1) * DIGEST_SIZE_BYTES) as Digest,
    isNodeAt: (at) => isNode[at] === 1,
  };
}
