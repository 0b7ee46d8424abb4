/** Copies of a DAG, counted over what peers said that they hold. */
import { decodeBits, getBit } from '@shoal/blocks';
import { DOMAIN_UNKNOWN, type FailureDomain, type HaveMap, type PeerId } from '@shoal/protocol';
import { spreadOf } from '@shoal/swarm';

const UNKNOWN: FailureDomain = { host: DOMAIN_UNKNOWN, disk: DOMAIN_UNKNOWN };

/** The have-map of a file at a peer, as it answered. */
export interface Holding {
  readonly peerId: PeerId;
  readonly haveMap: HaveMap;
}

export interface Copies {
  /** Fewest copies over the blocks. */
  readonly copies: number;
  /** Fewest disks, and fewest machines, over the blocks. */
  readonly disks: number;
  readonly machines: number;
}

/** Counts over blocks; a map of another number of blocks is of another DAG and doesn't count. */
export function countCopies(
  blocks: number,
  holdings: readonly Holding[],
  domainOf: (peerId: PeerId) => FailureDomain | undefined,
): Copies {
  const maps = holdings
    .filter(({ haveMap }) => haveMap.blocks === blocks)
    .map(({ peerId, haveMap }) => ({
      bits: decodeBits(haveMap.bits, blocks),
      domain: domainOf(peerId) ?? UNKNOWN,
    }));
  // Without a map there is nothing to look at, whatever number of blocks the pin states.
  if (maps.length === 0) return { copies: 0, disks: 0, machines: 0 };
  let fewest: Copies = { copies: maps.length, ...spreadOf(maps.map(({ domain }) => domain)) };
  /** Sets of holders that were counted: in most files there are a few, for all of their blocks. */
  const counted = new Set<string>();
  for (let index = 0; index < blocks; index += 1) {
    const having = maps.filter(({ bits }) => getBit(bits, index));
    if (having.length === maps.length) continue; // no block has more
    const key = maps.map(({ bits }) => (getBit(bits, index) ? '1' : '0')).join('');
    if (counted.has(key)) continue;
    counted.add(key);
    const { disks, machines } = spreadOf(having.map(({ domain }) => domain));
    fewest = {
      copies: Math.min(fewest.copies, having.length),
      disks: Math.min(fewest.disks, disks),
      machines: Math.min(fewest.machines, machines),
    };
  }
  return fewest;
}

/** When the copy that was re-hashed longest ago was; nothing when one holder does not say. */
export function oldestCheck(holdings: readonly Holding[]): { checkedAtMs?: number } {
  const times = holdings.map(({ haveMap }) => haveMap.checkedAtMs);
  const known = times.filter((time) => time !== undefined);
  return known.length === 0 || known.length < times.length
    ? {}
    : { checkedAtMs: Math.min(...known) };
}
