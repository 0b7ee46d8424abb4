/**
 * The `listed` strategy: blocks of a DAG whose list is known, from the members whose have-maps name them; while
 * these are not here, from those on which placement would have put them. One question serves the whole DAG.
 */
import { type Cid, type Member, REPLICAS_DEFAULT } from '@shoal/protocol';
import type { FetchBlock } from './fetch.ts';
import { HaveMaps, type HaveMapDeps } from './have-maps.ts';
import type { ReceivedBlock, SizedWant } from './receive-block.ts';

/** A block that nobody gives is asked for again this long: a crashed service is back within seconds. */
const RETRY_FOR_MS = 6000;

/** A block of a listed DAG: `index` is its place in DAG order; undefined while the order is not known. */
export interface ListedWant extends SizedWant {
  readonly index: number | undefined;
}

export interface ListedBlocks {
  /**
   * Opens one DAG, and asks the swarm who holds what of it, without waiting for the answers; with
   * `asksAtOnce: false` only when that is needed. `replicas` is on how many members each block is placed.
   */
  open(
    root: Cid,
    options: { signal: AbortSignal; asksAtOnce?: boolean; replicas?: number },
  ): ListedDag;
}

/** Its end is the end of the questions; fetches have signals of their own. */
export interface ListedDag extends Disposable {
  /** One verified block; the caller releases it. @throws BlockUnavailable */
  fetch(want: ListedWant, options: { signal: AbortSignal }): Promise<ReceivedBlock>;
  /** Asks who holds what, unless that was done a moment ago, and waits for the answers. */
  learn(): Promise<void>;
  /** How many of the others are known to hold the block at this place in DAG order. */
  countHolders(index: number): number;
}

export function createListedBlocks(
  deps: HaveMapDeps & { readonly fetchBlock: FetchBlock },
): ListedBlocks {
  return {
    open(root, { signal: asking, asksAtOnce = true, replicas = REPLICAS_DEFAULT }) {
      const end = new AbortController();
      const signal = AbortSignal.any([asking, end.signal]);
      const haveMaps = new HaveMaps({ root, replicas }, deps, { signal });
      const learn = () => haveMaps.learn();
      if (asksAtOnce) {
        void learn();
        deps.view.onChange(() => void learn(), { signal }); // a peer that joins during a transfer is used in it
      }
      return {
        fetch: (want, options) => {
          const providers = () => haveMaps.providersOf(want.cid, want.index);
          const onAbsent = (member: Member) => haveMaps.noteAbsent(member, want.index);
          const again = { forMs: RETRY_FOR_MS, learn };
          return deps.fetchBlock(want, { providers, onAbsent, again }, options);
        },
        learn,
        countHolders: (index) => haveMaps.countHolders(index),
        [Symbol.dispose]: () => end.abort(),
      };
    },
  };
}
