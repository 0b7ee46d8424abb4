/** Which blocks of a file keep this peer from going, worked out from have-maps alone. */
import { type DagEntry, getBit } from '@shoal/blocks';
import type { Cid, Pin } from '@shoal/protocol';

interface Bits {
  readonly own: Uint8Array;
  readonly others: readonly Uint8Array[];
}

/** Blocks that we hold and that no other member confirmed. */
export function onlyHere(entries: readonly DagEntry[], { own, others }: Bits): Cid[] {
  const found = entries.filter(
    (_, index) => getBit(own, index) && !others.some((bits) => getBit(bits, index)),
  );
  return [...new Set(found.map(({ cid }) => cid))];
}

/**
 * Blocks that a peer which leaves for good has still to hand over: leaves that are here, since the
 * placed peers have not all confirmed them yet, and manifest nodes that nobody else has.
 */
export function leftToHandOver(entries: readonly DagEntry[], { own, others }: Bits): Cid[] {
  const found = entries.filter(({ kind }, index) => {
    if (!getBit(own, index)) return false;
    return kind === 'leaf' || !others.some((bits) => getBit(bits, index));
  });
  return [...new Set(found.map(({ cid }) => cid))];
}

/** Manifest nodes that we hold. */
export function nodesHere(entries: readonly DagEntry[], own: Uint8Array): Cid[] {
  const found = entries.filter(({ kind }, index) => kind === 'node' && getBit(own, index));
  return [...new Set(found.map(({ cid }) => cid))];
}

/** The fewest copies over the blocks of a file that others confirm: what it has without us. */
export function fewestCopies({
  pin,
  others,
}: {
  readonly pin: Pick<Pin, 'blocks'>;
  readonly others: readonly Uint8Array[];
}): number {
  let fewest = others.length;
  for (let index = 0; index < pin.blocks && fewest > 0; index += 1)
    fewest = Math.min(fewest, others.filter((bits) => getBit(bits, index)).length);
  return fewest;
}
