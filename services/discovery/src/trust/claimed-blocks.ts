/** The blocks of files that members say they hold, and so can be asked to prove. */
import { randomInt } from 'node:crypto';
import { decodeBits, getBit } from '@shoal/blocks';
import type { BlockPlace, Cid, PeerId } from '@shoal/protocol';
import type { Holders } from '../holders/holders.ts';

/** Places looked at to find a block that both hold. Past it: nothing of this file is asked for. */
const STEPS_MAX = 4096;

interface Held {
  readonly bits: Uint8Array;
  readonly blocks: number;
}

export class ClaimedBlocks {
  readonly #self: PeerId;
  readonly #holders: Pick<Holders, 'last'>;

  constructor({
    self,
    holders,
  }: {
    readonly self: PeerId;
    readonly holders: Pick<Holders, 'last'>;
  }) {
    this.#self = self;
    this.#holders = holders;
  }

  /** Whether a member says, as far as is known now, that it holds this block. */
  has(peerId: PeerId, { root, index }: BlockPlace): boolean {
    const held = this.#held(peerId, root);
    return held !== undefined && index < held.blocks && getBit(held.bits, index);
  }

  /** At most `count` blocks of a file, picked at random, that both we and a member say we hold. */
  pick(peerId: PeerId, root: Cid, count: number): BlockPlace[] {
    const own = this.#held(this.#self, root);
    const theirs = this.#held(peerId, root);
    if (own === undefined || theirs === undefined || own.blocks !== theirs.blocks) return [];
    const indexes = new Set<number>();
    for (let tries = 0; tries < count; tries += 1) {
      const index = commonFrom(randomInt(own.blocks), own, theirs);
      if (index !== undefined) indexes.add(index);
    }
    return [...indexes].map((index) => ({ root, index }));
  }

  #held(peerId: PeerId, root: Cid): Held | undefined {
    const said = this.#holders.last(root, peerId);
    if (said?.isCurrent !== true || said.haveMap === undefined) return undefined;
    const { bits, blocks } = said.haveMap;
    return { bits: decodeBits(bits, blocks), blocks };
  }
}

/** The next block from here on that both hold, around the end; looks at a bounded part of a large file. */
function commonFrom(from: number, own: Held, theirs: Held): number | undefined {
  for (let step = 0; step < Math.min(own.blocks, STEPS_MAX); step += 1) {
    const index = (from + step) % own.blocks;
    if (getBit(own.bits, index) && getBit(theirs.bits, index)) return index;
  }
  return undefined;
}
