/**
 * The verb "announce": what this peer holds of a root has changed, so tell the others. It saves them a
 * question and is never relied upon: who reads asks again, who drops asks storage itself.
 */
import type { Cid, HaveMap, PeerId } from '@shoal/protocol';
import type { Holders } from './holders.ts';
import { Holdings } from './messages.ts';
import type { Wire } from './wire.ts';

/** Larger have-maps (files above 380 GiB) are not broadcast; a want brings them. */
const BITS_ANNOUNCED_MAX_CHARS = 64 * 1024;

export type Announce = (roots: readonly Cid[]) => Promise<void>;

export function createAnnounce(deps: {
  readonly self: PeerId;
  readonly wire: Wire;
  readonly holders: Holders;
  readonly readHaveMap: (root: Cid) => Promise<HaveMap | undefined>;
  readonly onHolding: (root: Cid, peerId: PeerId) => void;
}): Announce {
  const { self, wire, holders, readHaveMap, onHolding } = deps;
  const note = (peerId: PeerId, { haves, gone }: Holdings): void => {
    for (const root of gone) holders.note(root, peerId, undefined);
    for (const haveMap of haves) {
      holders.note(haveMap.root, peerId, haveMap);
      onHolding(haveMap.root, peerId);
    }
  };
  wire.listen('holdings', Holdings, note);
  return async (roots) => {
    const haves: HaveMap[] = [];
    const gone: Cid[] = [];
    const maps = await Promise.all(
      [...new Set(roots)].map(async (root) => ({ root, haveMap: await readHaveMap(root) })),
    );
    for (const { root, haveMap } of maps)
      if (haveMap === undefined) gone.push(root);
      else haves.push(haveMap);
    note(self, { v: 1, haves, gone });
    const small = haves.filter(({ bits }) => bits.length <= BITS_ANNOUNCED_MAX_CHARS);
    if (small.length + gone.length > 0) wire.broadcast('holdings', { v: 1, haves: small, gone });
  };
}
