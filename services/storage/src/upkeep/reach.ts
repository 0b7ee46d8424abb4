/**
 * Follows pins down to the blocks that are held here. Pins are read twice: following the DAGs of a
 * large swarm takes a while, and files that were pinned meanwhile are found by the second reading.
 */
import { digestOf } from '@shoal/blocks';
import type { Log } from '@shoal/chassis';
import { type Cid, ManifestIncomplete, ManifestInvalid } from '@shoal/protocol';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { DagListings } from '../dags/dag-listing.ts';
import type { DigestMarks } from '../index/digest-marks.ts';
import type { LivePins } from './live-pins.ts';

/** Blocks marked between two turns of the event loop, a few milliseconds. */
const MARKS_PER_TURN = 4096;
/** Files reported in one round; transfer finds the others by itself, later. */
const LOWERED_ROOTS_MAX = 1024;

export interface Reach {
  readonly pins: number;
  /** Files with a block here whose record asks for more copies than they do themselves. */
  readonly lowered: readonly Cid[];
  /** Why the marks are not all there; undefined when they are. */
  readonly heldUpBy: string | undefined;
}

export async function reachFromPins(
  deps: {
    readonly livePins: LivePins;
    readonly listings: DagListings;
    readonly marks: DigestMarks;
    readonly log: Log;
  },
  { signal }: { signal: AbortSignal },
): Promise<Reach> {
  const { livePins, listings, marks, log } = deps;
  const seen = createPinMemory();
  const lowered = new Set<Cid>();
  let pins = 0;
  let sinceTurn = 0;

  const follow = async (root: Cid, replicas: number): Promise<void> => {
    const listing = await listings.list(root);
    for (let at = 0; at < listing.blocks; at += 1) {
      const mark = { replicas, isNode: listing.isNodeAt(at) };
      const recorded = marks.mark(listing.digestAt(at), mark);
      if (recorded !== undefined && recorded > replicas && lowered.size < LOWERED_ROOTS_MAX)
        lowered.add(root);
      sinceTurn += 1;
      if (sinceTurn < MARKS_PER_TURN) continue;
      sinceTurn = 0;
      await nextTurn();
      signal.throwIfAborted();
    }
  };
  const readPins = async (): Promise<string | undefined> => {
    for await (const page of livePins({ signal })) {
      if (!page.isCurrent) return 'the pins of the swarm may not all be known here yet';
      for (const { root, replicas, deleted = false } of page.pins) {
        signal.throwIfAborted();
        if (seen.has(root, replicas)) continue;
        try {
          await follow(root, replicas);
        } catch (error) {
          if (!(error instanceof ManifestIncomplete || error instanceof ManifestInvalid))
            throw error;
          // A DAG that can't be listed might reach anything; but a deleted file does not hold the sweep up.
          if (deleted) continue;
          return `the blocks of ${root} can't be listed here: ${error.message}`;
        }
        seen.add(root, replicas);
        pins += 1;
      }
      await nextTurn();
    }
    return undefined;
  };

  let heldUpBy: string | undefined;
  try {
    heldUpBy = await readPins();
    if (heldUpBy === undefined) {
      seen.sort();
      heldUpBy = await readPins();
    }
  } catch (err) {
    signal.throwIfAborted();
    log.warn({ err }, 'pins not followed');
    heldUpBy = 'the pins could not be read and followed; the log says why';
  }
  return { pins, lowered: [...lowered], heldUpBy };
}

/**
 * Which pins were followed, as a number each: 48 bits of the root's digest, 5 of the replicas. It
 * answers only once it was sorted; a pin taken for another is one that was followed too late to
 * count on this reading anyway.
 */
function createPinMemory() {
  let numbers = new Float64Array(1024);
  let size = 0;
  let sorted: Float64Array | undefined;
  const numberOf = (root: Cid, replicas: number): number =>
    Buffer.from(digestOf(root)).readUIntBE(0, 6) * 32 + replicas;
  return {
    add(root: Cid, replicas: number): void {
      if (size === numbers.length) {
        const larger = new Float64Array(2 * size);
        larger.set(numbers);
        numbers = larger;
      }
      numbers[size] = numberOf(root, replicas);
      size += 1;
    },
    sort(): void {
      sorted = numbers.slice(0, size).toSorted();
    },
    has(root: Cid, replicas: number): boolean {
      if (sorted === undefined) return false;
      const wanted = numberOf(root, replicas);
      let from = 0;
      for (let to = sorted.length; from < to;) {
        const middle = (from + to) >>> 1;
        if ((sorted[middle] ?? 0) < wanted) from = middle + 1;
        else to = middle;
      }
      return sorted[from] === wanted;
    },
  };
}
