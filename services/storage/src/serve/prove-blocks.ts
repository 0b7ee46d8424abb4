/**
 * Proofs of blocks that are here: to a peer that asks for its own, and to our own services what a peer
 * must answer them. A proof of another peer's copy is never given to others, or a peer without the bytes
 * could have it made here.
 *
 * A call reads 16 KiB of each block at most, one block after the other: a megabyte in all. Our own services
 * and other peers have places of their own, so a peer that asks a lot delays no upload's confirmation here.
 */
import { type CopyChallenge, proveCopy, rangesToProve } from '@shoal/blocks';
import { type Cid, type CopyProof, NO_PROOF, Overloaded } from '@shoal/protocol';
import { type Digest, digestOfCid } from '../disk/block-record.ts';
import { type Blockstore } from '../store/blockstore.ts';
import type { Metrics } from '../metrics.ts';

/** Calls worked on at once, of other peers and of our own services each. */
const CALLS_MAX = 16;
/** Calls of our own services that wait for that. Another peer gets 503 `overloaded`. */
export const OWN_WAITING_MAX = 512;

/** A proof for each block that is held and, by `isGiven`, may be proved. @throws Overloaded */
export type ProveBlocks = (
  challenge: Omit<CopyChallenge, 'cid'> & { readonly cids: readonly Cid[] },
  isGiven?: (digest: Digest) => boolean,
) => Promise<{ proofs: CopyProof[] }>;

/** @param waitingMax Calls that may wait for a place. */
export function createProveBlocks({
  store,
  metrics,
  waitingMax,
}: {
  readonly store: Pick<Blockstore, 'readRanges'>;
  readonly metrics: Pick<Metrics, 'blocksProved'>;
  readonly waitingMax: number;
}): ProveBlocks {
  const waiting: (() => void)[] = [];
  let calls = 0;
  const takePlace = async (): Promise<Disposable> => {
    if (calls < CALLS_MAX) calls += 1;
    else {
      const limit = CALLS_MAX + waitingMax;
      if (waiting.length >= waitingMax) throw new Overloaded({ what: 'calls for proofs', limit });
      await new Promise<void>((resolve) => waiting.push(resolve));
    }
    return {
      [Symbol.dispose]() {
        const next = waiting.shift();
        if (next === undefined) calls -= 1;
        else next(); // hands its place over: `calls` stays
      },
    };
  };
  const prove = async (challenge: CopyChallenge, digest: Digest): Promise<CopyProof> => {
    const read = await store.readRanges(digest, (sizeBytes) => rangesToProve(challenge, sizeBytes));
    return read === undefined ? NO_PROOF : proveCopy(challenge, read.sizeBytes, read.parts);
  };
  return async ({ cids, ...who }, isGiven = () => true) => {
    using _place = await takePlace();
    const proofs: CopyProof[] = [];
    for (const cid of cids) {
      const digest = digestOfCid(cid);
      const proof = isGiven(digest) ? await prove({ ...who, cid }, digest) : NO_PROOF;
      metrics.blocksProved.inc({ outcome: proof === NO_PROOF ? 'absent' : 'proved' });
      proofs.push(proof);
    }
    return { proofs };
  };
}
