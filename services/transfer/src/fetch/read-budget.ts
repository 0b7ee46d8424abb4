/**
 * The cost of reading a DAG that no pin promises. A client that sends a few nodes which name each other often
 * enough could have them walked for hours, so a walk is paid for by what it gives: nodes are read for as
 * many bytes as go out, some times over, and a few seconds' worth for nothing.
 */
import { ManifestInvalid, MiB, Overloaded } from '@shoal/protocol';

/** Bytes of nodes that are read before anything goes out: a second or two of decoding at 12 MB/s (measured); those of a file of 256 GiB fit. */
const READ_FREE_MAX_BYTES = 16 * MiB;
/** With more, how many bytes of nodes for each that goes out; a guess: a file needs a thousandth of one. */
const READ_PER_BYTE_MAX = 16;
/** A node's cost beside its bytes: some ten microseconds. */
export const NODE_COST_BYTES = 512;
/** Cost of fetching a leaf: a part of a millisecond, as long as decoding this much. One of a KiB pays for itself. */
export const LEAF_FETCH_COST_BYTES = 16 * 1024;
/** Longest that a walk goes on without giving a byte. Blocks that are missing are looked for for seconds. */
const SILENCE_MAX_MS = 120_000;
/** Links of nodes held in memory over all requests, some 200 bytes each: 100 MB. */
const LINKS_MAX = 524_288;

/** A node has no more links when it is made by any program that is known. */
const LINKS_USUAL_MAX = 1024;
/** A link of a node that was read takes as much memory as this many that wait to be followed: 640 bytes, measured. */
const READ_LINK_WEIGHT = 4;

/** The weight of the links of a node in memory; those of a usual one are small beside its block. */
export const linksOfNode = (links: number): number =>
  links > LINKS_USUAL_MAX ? links * READ_LINK_WEIGHT : links;

export interface ReadBudget {
  /** Pays for what was read, in bytes of nodes. @throws ManifestInvalid when it was too much for too little. */
  spend(cid: string, readBytes: number): void;
}

/** A request's budget, by the bytes that it has sent so far. */
export function createReadBudget(
  sentBytes: () => number,
  {
    freeMaxBytes = READ_FREE_MAX_BYTES,
    nowMs = () => performance.now(),
  }: { readonly freeMaxBytes?: number; readonly nowMs?: () => number } = {},
): ReadBudget {
  let costBytes = 0;
  let lastSentBytes = 0;
  let sentAtMs = nowMs();
  return {
    spend(cid, readBytes) {
      costBytes += readBytes;
      const sent = sentBytes();
      if (sent > lastSentBytes) {
        lastSentBytes = sent;
        sentAtMs = nowMs();
      }
      const isTooMuch = costBytes > freeMaxBytes && costBytes > READ_PER_BYTE_MAX * lastSentBytes;
      if (!isTooMuch && nowMs() - sentAtMs <= SILENCE_MAX_MS) return;
      throw new ManifestInvalid({
        cid,
        reason:
          'too many blocks were read on the way to it for too few bytes; of what no pin keeps, no more is read',
      });
    },
  };
}

/** The links that one request holds in memory. */
export interface HeldLinks extends Disposable {
  /** Says how many it holds now. @throws Overloaded when that is more than its share of what there is room for. */
  set(links: number): void;
}

/** Room for the links of nodes, shared by the requests that hold some. */
export function createLinkRoom(linksMax: number = LINKS_MAX): { open(): HeldLinks } {
  let all = 0;
  let holders = 0;
  return {
    open() {
      let own = 0;
      holders += 1;
      const change = (links: number) => {
        all += links - own;
        own = links;
      };
      return {
        set(links) {
          change(links);
          if (all <= linksMax || own <= linksMax / holders) return;
          change(0);
          throw new Overloaded({ what: 'links of blocks in memory', limit: linksMax });
        },
        [Symbol.dispose]() {
          change(0);
          holders -= 1;
        },
      };
    },
  };
}
