/**
 * Looks at every block of a DAG that came from outside, each one once: whether it is there, whether it
 * is what the blocks above it say, and how large the whole is when it is unfolded. It is not unfolded
 * here: a few nodes that name each other often enough list more blocks than there are atoms. Nodes are
 * counted apart, since a walk reads each one at every place where it occurs, and leaves never.
 *
 * Every member walks what is kept, again and again, so what that costs is bounded by what came in: the
 * nodes that are read, by number and by bytes, and the entries that are listed.
 *
 * A DAG that passes here is listed by `walkDag` without a fault, and so by every member.
 */
import { type Cid, ManifestIncomplete, ManifestInvalid, MiB } from '@shoal/protocol';
import { codecOf } from '../cid.ts';
import { type NodeType, readUnixfs, type UnixfsNode } from './unixfs.ts';
import { childrenOf, DAG_DEPTH_MAX, type GetNode } from './walk-dag.ts';

/**
 * Visits of nodes that every DAG may ask of a walk, a few seconds of one.
 * Past it: not kept, 422 `manifest-invalid`.
 */
const NODE_VISITS_MAX = 65_536;
/**
 * With more visits, how often a node may occur in it on average; a guess: ten copies of a folder are
 * honest.
 * Past it: not kept, 422 `manifest-invalid`.
 */
const VISITS_PER_NODE_MAX = 16;
/**
 * The same in bytes of the nodes that are read, which takes a second or two.
 * Past it: not kept, 422 `manifest-invalid`.
 */
const VISITED_BYTES_MAX = 64 * MiB;
/**
 * Entries that every DAG may list: some 75 MB of memory for a member that lists them.
 * Past it: not kept, 422 `manifest-invalid`.
 */
const ENTRIES_FREE_MAX = 262_144;
/**
 * With more entries, how often a block may occur in it on average; a guess: disk images are mostly zeros.
 * Past it: not kept, 422 `manifest-invalid`.
 */
const ENTRIES_PER_BLOCK_MAX = 64;

/** A leaf, and the file bytes that its parent says it has; a directory does not say. */
export interface LeafClaim {
  readonly cid: Cid;
  readonly sizeBytes: number | undefined;
}

export interface MeasuredDag {
  /** The kind of the root. */
  readonly type: NodeType | 'raw';
  /** Entries that `walkDag` gives. */
  readonly entries: number;
  /** File bytes below, those of a block as often as it occurs. */
  readonly sizeBytes: number;
}

interface Measured extends MeasuredDag {
  /** Those of the entries that are nodes. */
  readonly nodeVisits: number;
  /** The bytes of those together. */
  readonly visitedBytes: number;
  /** Levels, itself included. */
  readonly height: number;
}

/**
 * @throws ManifestInvalid when there are more than `entriesMax` entries, the same few nodes too often,
 * more levels than a walk goes down, or blocks that contradict each other; ManifestIncomplete when
 * `getNode` gives undefined; CidUnsupported; whatever `checkLeaves` throws.
 */
export async function measureDag(
  root: Cid,
  {
    getNode,
    checkLeaves,
    entriesMax,
  }: {
    /** Asked for each node once. */
    readonly getNode: GetNode;
    /** The file bytes of the leaves of one node, in their order. Refuses those that differ from the claim. */
    readonly checkLeaves: (leaves: readonly LeafClaim[]) => Promise<readonly number[]>;
    readonly entriesMax: number;
  },
): Promise<MeasuredDag> {
  const measured = new Map<Cid, Measured>();
  const refuse = (cid: Cid, reason: string) => new ManifestInvalid({ cid, reason });
  let nodeBytes = 0;
  /** Past this many it makes no difference how many there are. */
  const leavesCountedMax = Math.ceil(entriesMax / ENTRIES_PER_BLOCK_MAX);
  const distinctLeaves = new Set<Cid>();

  const read = async (
    cid: Cid,
    depth: number,
  ): Promise<{ node: UnixfsNode; sizeBytes: number }> => {
    if (depth > DAG_DEPTH_MAX) throw refuse(cid, `it is deeper than ${DAG_DEPTH_MAX} levels`);
    if (measured.size >= entriesMax) throw refuse(root, `it has more than ${entriesMax} blocks`);
    const bytes = await getNode(cid);
    if (bytes === undefined) throw new ManifestIncomplete({ root, cid });
    nodeBytes += bytes.length;
    return { node: readUnixfs(cid, bytes), sizeBytes: bytes.length };
  };
  const measure = async (cid: Cid, depth: number): Promise<Measured> => {
    const known = measured.get(cid);
    if (known !== undefined) return known;
    const { node, sizeBytes: ownBytes } = await read(cid, depth);
    const { type } = node;
    const isFile = type === 'file';
    let entries = 1;
    let nodeVisits = 1;
    let visitedBytes = ownBytes;
    let height = 1;
    let sizeBytes = isFile ? node.data.length : 0;
    const add = (more: { entries: number; sizeBytes: number }) => {
      entries += more.entries;
      sizeBytes += more.sizeBytes;
      if (entries > entriesMax) throw refuse(cid, `it unfolds to more than ${entriesMax} blocks`);
    };
    const leaves: LeafClaim[] = [];
    for (const { cid: child, isLeaf, claimedBytes, inline } of childrenOf(node)) {
      if (inline !== undefined) {
        if (isFile && inline.length !== claimedBytes)
          throw refuse(cid, `a link says ${claimedBytes} bytes and holds ${inline.length} itself`);
        add({ entries: 0, sizeBytes: inline.length });
      } else if (isLeaf) {
        if (distinctLeaves.size < leavesCountedMax) distinctLeaves.add(child);
        leaves.push({ cid: child, sizeBytes: isFile ? claimedBytes : undefined });
        add({ entries: 1, sizeBytes: 0 });
        height = Math.max(height, 2);
      } else {
        const below = await measure(child, depth + 1);
        if (isFile && (below.type !== 'file' || below.sizeBytes !== claimedBytes))
          throw refuse(child, `its parent says that it is ${claimedBytes} bytes of a file`);
        add(below);
        nodeVisits += below.nodeVisits;
        visitedBytes += below.visitedBytes;
        height = Math.max(height, below.height + 1);
        // A node that was measured higher up may be too deep here.
        if (depth + height > DAG_DEPTH_MAX + 1)
          throw refuse(cid, `it is deeper than ${DAG_DEPTH_MAX} levels`);
      }
    }
    if (leaves.length > 0)
      for (const leafBytes of await checkLeaves(leaves)) sizeBytes += leafBytes;
    const result = { type, entries, nodeVisits, visitedBytes, sizeBytes, height };
    measured.set(cid, result);
    return result;
  };

  if (codecOf(root) === 'dag-pb') {
    const whole = await measure(root, 0);
    const { entries, nodeVisits, visitedBytes } = whole;
    if (isUnfolded(nodeVisits, measured.size, NODE_VISITS_MAX))
      throw refuse(root, `${measured.size} nodes occur in it ${nodeVisits} times`);
    if (isUnfolded(visitedBytes, nodeBytes, VISITED_BYTES_MAX))
      throw refuse(root, `${nodeBytes} bytes of nodes unfold to ${visitedBytes}`);
    const blocks = measured.size + distinctLeaves.size;
    if (entries > ENTRIES_FREE_MAX && entries > blocks * ENTRIES_PER_BLOCK_MAX)
      throw refuse(root, `${blocks} blocks occur in it ${entries} times`);
    return whole;
  }
  const [sizeBytes = 0] = await checkLeaves([{ cid: root, sizeBytes: undefined }]);
  return { type: 'raw', entries: 1, sizeBytes };
}

/** Whether a walk reads the same few nodes again and again. */
const isUnfolded = (visited: number, distinct: number, freeMax: number): boolean =>
  visited > freeMax && visited > distinct * VISITS_PER_NODE_MAX;
