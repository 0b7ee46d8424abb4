/**
 * Walks any dag-pb/raw DAG depth first, parents before children: the order of have-maps and of CARs.
 * Nodes are read one at a time, leaves never: the parent says whether a block is a leaf.
 *
 * A node that occurs in many places is requested as often. A caller whose `getNode` answers from memory
 * must yield to the event loop there, or between entries.
 */
import {
  BLOCK_SIZE_MAX_BYTES,
  type Cid,
  DAG_BLOCKS_MAX,
  ManifestIncomplete,
  ManifestInvalid,
} from '@shoal/protocol';
import { codecOf } from '../cid.ts';
import { fileBytesOf, type NodeLink, readUnixfs, targetOf, type UnixfsNode } from './unixfs.ts';

/** A block of a DAG, at one of its places. */
export interface DagEntry {
  readonly cid: Cid;
  /** Leaves hold file bytes and no links. Every member keeps all nodes; leaves are placed. */
  readonly kind: 'node' | 'leaf';
  /** File bytes in this block itself: all of a leaf, as a rule none of a node. */
  readonly sizeBytes: number;
  /** Position of the first of them in the file, or in the files of a directory one after the other. */
  readonly offset: number;
  /** File bytes in the parent's link itself (an identity CID): there is no block to fetch. */
  readonly inline?: Uint8Array;
  /** True when its parent spells its CID as version 0: names in a CAR must be those of the links. */
  readonly isV0?: true;
}

/** Gives a node's bytes; undefined when nobody has them. */
export type GetNode = (cid: Cid) => Promise<Uint8Array | undefined>;

export interface WalkOptions {
  /** File bytes of the root, when it is a leaf itself: a leaf doesn't say its size. */
  readonly sizeBytes?: number | undefined;
  /** `all`: everything below. `entity`: one file, or one directory without its entries. */
  readonly scope?: 'all' | 'entity';
  /** Only the blocks that hold these bytes of a file, both ends included, and the nodes above them. */
  readonly range?: { readonly start: number; readonly end: number } | undefined;
  /** Also gives `inline` entries: readers of files want them, have-maps have no bit for them. */
  readonly withInline?: boolean;
  /** Leaves out a block, and everything below it, when this says so. */
  readonly skip?: (cid: Cid) => boolean;
  /** Called with the number of links yet to follow, some 200 bytes of memory each; what it throws ends the walk. */
  readonly onPending?: (links: number) => void;
}

/**
 * Nested directories come first to this; a file has four levels, a trickle one some ten.
 * Past it: 422 `manifest-invalid`.
 */
export const DAG_DEPTH_MAX = 256;
/**
 * The encoding of a dag-pb leaf adds less than 20 bytes to its own; one link alone takes more
 * than 40. So a parent's sizes tell a leaf from a node before the block is fetched.
 * Past it: it counts as a node, which every member keeps.
 */
const LEAF_OVERHEAD_MAX_BYTES = 32;

/** A link yet to follow. */
export interface Visit {
  readonly cid: Cid;
  readonly isLeaf: boolean;
  /** File bytes below, as the parent claims them. */
  readonly claimedBytes: number | undefined;
  readonly offset: number | undefined;
  readonly depth: number;
  readonly inline?: Uint8Array | undefined;
  readonly isV0?: boolean;
}

/**
 * The blocks of a DAG in its order. Sizes must add up at every level, so that a forged manifest is
 * refused before its chunks are fetched.
 * @throws ManifestIncomplete when `getNode` gives undefined; ManifestInvalid; CidUnsupported for a
 * link that is neither raw nor dag-pb with sha2-256.
 */
export async function* walkDag(
  root: Cid,
  getNode: GetNode,
  {
    sizeBytes,
    scope = 'all',
    range,
    withInline = false,
    skip = () => false,
    onPending = () => {},
  }: WalkOptions = {},
): AsyncGenerator<DagEntry, void, undefined> {
  const stack: Visit[] = [
    { cid: root, isLeaf: codecOf(root) === 'raw', claimedBytes: sizeBytes, offset: 0, depth: 0 },
  ];
  let blocks = 0;
  let nextOffset = 0;
  for (let visit = stack.pop(); visit !== undefined; visit = stack.pop()) {
    const { cid, claimedBytes, depth } = visit;
    const spelling = visit.isV0 === true ? { isV0: true as const } : {};
    const offset = visit.offset ?? nextOffset;
    if (visit.inline !== undefined) {
      if (claimedBytes !== undefined && claimedBytes !== visit.inline.length)
        throw new ManifestInvalid({
          cid: root,
          reason: `a link says ${claimedBytes} bytes and holds ${visit.inline.length} itself`,
        });
      nextOffset = offset + visit.inline.length;
      if (withInline)
        yield { cid, kind: 'leaf', sizeBytes: visit.inline.length, offset, inline: visit.inline };
      continue;
    }
    if (skip(cid)) continue;
    blocks += 1;
    if (blocks > DAG_BLOCKS_MAX || depth > DAG_DEPTH_MAX)
      throw new ManifestInvalid({ cid, reason: 'the DAG is larger or deeper than any file' });
    if (visit.isLeaf) {
      const leafBytes = claimedBytes ?? 0;
      if (leafBytes > BLOCK_SIZE_MAX_BYTES)
        throw new ManifestInvalid({ cid, reason: `a leaf of ${leafBytes} bytes is too large` });
      nextOffset = offset + leafBytes;
      yield { cid, kind: 'leaf', sizeBytes: leafBytes, offset, ...spelling };
      continue;
    }
    const bytes = await getNode(cid);
    if (bytes === undefined) throw new ManifestIncomplete({ root, cid });
    const { ownBytes, children, failure } = readNode(bytes, { cid, visit, offset, range, scope });
    nextOffset = offset + ownBytes;
    for (let index = children.length - 1; index >= 0; index -= 1) {
      const child = children[index];
      if (child !== undefined) stack.push(child);
    }
    onPending(stack.length);
    yield { cid, kind: 'node', sizeBytes: ownBytes, offset, ...spelling };
    if (failure !== undefined) throw failure.error;
  }
}

/**
 * The part of a node that a walk needs. Nothing else of it stays in memory while the reader takes its time: a link
 * as it was read takes three times as much. Faults of a link are reported after the node was yielded.
 */
function readNode(
  bytes: Uint8Array,
  {
    cid,
    visit: { depth, claimedBytes },
    offset,
    range,
    scope,
  }: {
    readonly cid: Cid;
    readonly visit: Visit;
    readonly offset: number;
    readonly range: WalkOptions['range'];
    readonly scope: WalkOptions['scope'];
  },
): {
  readonly ownBytes: number;
  readonly children: Visit[];
  readonly failure: { readonly error: unknown } | undefined;
} {
  const node = readUnixfs(cid, bytes);
  const isFile = node.type === 'file';
  if (isFile && depth > 0 && claimedBytes !== undefined && claimedBytes !== node.fileSizeBytes)
    throw new ManifestInvalid({
      cid,
      reason: `its parent says ${claimedBytes} bytes, its children have ${node.fileSizeBytes}`,
    });
  const ownBytes = isFile ? node.data.length : 0;
  const children: Visit[] = [];
  let at = offset + ownBytes;
  try {
    for (const link of node.links) {
      const below = isFile ? (link.sizeBytes ?? 0) : undefined;
      const from = at;
      if (below !== undefined) at += below;
      if (isFile && range !== undefined && !overlaps(from, below ?? 0, range)) continue;
      if (!isFile && scope === 'entity' && !isSubShard(link, node)) continue;
      children.push(visitOf(link, isFile, isFile ? from : undefined, depth + 1));
    }
  } catch (error) {
    return { ownBytes, children: [], failure: { error } };
  }
  return { ownBytes, children, failure: undefined };
}

/**
 * Lists a DAG in its order.
 * @param sizeBytes The file's size; needed only when the root is a leaf, which does not say it.
 * @throws as `walkDag`.
 */
export async function listDag(
  root: Cid,
  sizeBytes: number | undefined,
  getNode: GetNode,
): Promise<DagEntry[]> {
  const entries: DagEntry[] = [];
  for await (const entry of walkDag(root, getNode, { sizeBytes })) entries.push(entry);
  return entries;
}

/** The targets of a node's links, as a walk sees them. @throws CidUnsupported */
export function childrenOf({ type, links }: UnixfsNode): Visit[] {
  return links.map((link) => visitOf(link, type === 'file', undefined, 0));
}

function visitOf(
  link: NodeLink,
  isFile: boolean,
  offset: number | undefined,
  depth: number,
): Visit {
  const target = targetOf(link);
  if (target.kind === 'identity')
    // The name is never used: an inline entry has no block.
    return {
      cid: '' as Cid,
      isLeaf: true,
      claimedBytes: isFile ? link.sizeBytes : undefined,
      offset,
      depth,
      inline: target.codec === 'raw' ? target.bytes : fileBytesOf('dag-pb', target.bytes),
    };
  const { cid } = target;
  const isRaw = codecOf(cid) === 'raw';
  // In a directory a raw block is a whole file, of the size that its tree has, if that is true.
  const treeSizeBytes =
    (link.treeSizeBytes ?? 0) > BLOCK_SIZE_MAX_BYTES ? undefined : link.treeSizeBytes;
  const claimedBytes = isFile ? link.sizeBytes : isRaw ? treeSizeBytes : undefined;
  const isLeaf = isRaw || (isFile && isClaimedLeaf(link));
  return { cid, isLeaf, claimedBytes, offset, depth, isV0: link.cid.version === 0 };
}

/** A child of a file node that can't have links, by the sizes that its parent states. */
function isClaimedLeaf({ treeSizeBytes, sizeBytes }: NodeLink): boolean {
  if (treeSizeBytes === undefined || sizeBytes === undefined) return false;
  const overhead = treeSizeBytes - sizeBytes;
  return overhead >= 0 && overhead < LEAF_OVERHEAD_MAX_BYTES;
}

/** A shard's link to another shard of the same directory: its name is the prefix alone. */
function isSubShard(
  { name }: NodeLink,
  { type, fanout }: { type: string; fanout: number },
): boolean {
  return type === 'shard' && name.length === prefixLength(fanout);
}

/** Hex digits of a slot's number in link names of a shard. */
export const prefixLength = (fanout: number): number => (fanout - 1).toString(16).length;

/** False for what has no bytes: trees of empty files could go on forever between two bytes. */
const overlaps = (
  from: number,
  length: number,
  { start, end }: { readonly start: number; readonly end: number },
): boolean => length > 0 && from <= end && from + length > start;
