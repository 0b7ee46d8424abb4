/**
 * A first look at many files at once: a call to this peer's own storage for each batch of them, and nothing said to
 * others. A file of one raw block is in order here when its block is where placement says, or is not here
 * and need not be: then its upload has done all that there was to do.
 */
import { batchesOf, codecOf, heldOf } from '@shoal/blocks';
import type { PeerClient } from '@shoal/chassis';
import { CIDS_PER_BATCH_MAX, type Pin, storageRoutes } from '@shoal/protocol';
import { countedHolders, type MemberView } from '../peers/member-view.ts';

/** The result of a look at some files. */
export interface Looked {
  readonly inOrder: readonly Pin[];
  /** Small files whose block is missing here, or surplus. */
  readonly misplaced: readonly Pin[];
  /** Files that take more than a look. */
  readonly rest: readonly Pin[];
}

/** @throws Problem when storage does not answer. */
export async function lookAtSmall(
  pins: readonly Pin[],
  { client, view }: { readonly client: PeerClient; readonly view: MemberView },
  { signal }: { signal: AbortSignal },
): Promise<Looked> {
  const looked = { inOrder: [] as Pin[], misplaced: [] as Pin[] };
  for (const small of batchesOf(pins.filter(isSmall), CIDS_PER_BATCH_MAX)) {
    const blocks = small.map(({ root: cid, replicas }) => ({ cid, replicas }));
    const { bits } = await client.call(
      client.own('storage'),
      storageRoutes.keepBlocks,
      { body: { blocks } },
      { signal },
    );
    const held = new Set(heldOf(small, bits));
    for (const pin of small) {
      const isMine = countedHolders(view, pin.root, pin.replicas).some(({ isSelf }) => isSelf);
      looked[isMine === held.has(pin) ? 'inOrder' : 'misplaced'].push(pin);
    }
  }
  return { ...looked, rest: pins.filter((pin) => !isSmall(pin)) };
}

/** One block, which is no node of a manifest: those are everywhere. */
const isSmall = ({ blocks, deleted, root }: Pin): boolean =>
  blocks === 1 && !deleted && codecOf(root) === 'raw';
