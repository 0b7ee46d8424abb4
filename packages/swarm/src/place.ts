/**
 * ③ Place: which peers should hold a block.
 *
 * Rendezvous hashing (Thaler & Ravishankar 1998), weighted by capacity as w / −ln u. Every peer with
 * the same members gets the same answer, so nobody asks a coordinator, a repeated job repeats itself,
 * and a peer that joins or leaves moves only its own blocks.
 *
 * Capacity is a claim: a peer that says it has a thousand times more than the others would be first of
 * nearly every order. So the weight is at most four times the median claim, which half of the members
 * would have to push up together. Other claims and proofs of members never decide where a block
 * belongs: opinions differ between peers, and an order that differs moves blocks to and fro.
 *
 * Placed is a partition (256 of them), not a block: the number of distinct replica sets stays small
 * (copysets), so that losing R peers at once is unlikely to lose anything.
 *
 * Two copies on one disk are one accident: among the first choices each failure domain occurs once,
 * then come the others. The order for R copies is therefore the beginning of the order for R + 1.
 */
import { createHash } from 'node:crypto';
import type { FailureDomain, PeerId } from '@shoal/protocol';
import { domainKey } from './survival.ts';

/**
 * Weight of a peer at most, in medians of what the members claim.
 * Past it: a higher claim counts as that.
 */
const WEIGHT_MAX_MEDIANS = 4;

/** A member as placement sees it. Capacity is configured, so every caller sees the same number. */
export interface Candidate {
  readonly peerId: PeerId;
  readonly capacityBytes: number;
  readonly domain: FailureDomain;
}

/**
 * All candidates with any capacity, best first, for one partition (0 to 255). The first R of them
 * hold the copies of a file with R replicas; the next stand in for one that is down.
 */
export function place<C extends Candidate>(partition: number, candidates: readonly C[]): C[] {
  const weightMax = weightMaxOf(candidates);
  const byScore = candidates
    .filter(({ capacityBytes }) => capacityBytes > 0)
    .map((peer) => ({
      peer,
      score:
        Math.min(peer.capacityBytes, weightMax) /
        -Math.log(unitInterval(`${partition}/${peer.peerId}`)),
    }))
    .toSorted((a, b) => b.score - a.score || (a.peer.peerId < b.peer.peerId ? -1 : 1))
    .map(({ peer }) => peer);
  const seen = new Set<string>();
  const isFirstOfItsDomain = ({ domain }: C) => {
    const key = domainKey(domain);
    return seen.has(key) ? false : seen.add(key) !== undefined;
  };
  const firsts = byScore.filter(isFirstOfItsDomain);
  return [...firsts, ...byScore.filter((peer) => !firsts.includes(peer))];
}

/** Placement over one set of members, each partition worked out once. */
export function createPlacement<C extends Candidate>(
  candidates: readonly C[],
): (partition: number) => readonly C[] {
  const orders = new Map<number, readonly C[]>();
  return (partition) => {
    const known = orders.get(partition);
    if (known !== undefined) return known;
    const order = place(partition, candidates);
    orders.set(partition, order);
    return order;
  };
}

/** The most that a claim counts: by the lower median of the claims of those that have any capacity. */
function weightMaxOf(candidates: readonly Candidate[]): number {
  const claims = candidates
    .map(({ capacityBytes }) => capacityBytes)
    .filter((claim) => claim > 0)
    .toSorted((a, b) => a - b);
  return WEIGHT_MAX_MEDIANS * (claims[Math.floor((claims.length - 1) / 2)] ?? 0);
}

/** Maps a string to the open interval (0, 1), uniformly: 48 bits of SHA-256, plus a half so that it is never 0. */
function unitInterval(key: string): number {
  return (createHash('sha256').update(key).digest().readUIntBE(0, 6) + 0.5) / 2 ** 48;
}
