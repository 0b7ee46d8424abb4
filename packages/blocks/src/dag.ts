/**
 * A file's DAG: the manifest nodes above its chunks, in the balanced layout of `unixfs-v1-2025`.
 *
 * Nodes are built as leaves come, so that an upload of any size holds at most one open node for each
 * level. Field order, names and cumulative sizes follow the dag-pb and UnixFS specifications, since
 * one byte of difference is another CID.
 */
import { createNode, decode, encode, prepare } from '@ipld/dag-pb';
import {
  BLOCK_SIZE_MAX_BYTES,
  type Cid,
  DAG_WIDTH_MAX,
  ManifestIncomplete,
  ManifestInvalid,
} from '@shoal/protocol';
import { UnixFS } from 'ipfs-unixfs';
import { codecOf, fromCid, hashBlock, toCid } from './cid.ts';

/** A manifest node, ready to be stored. */
export interface DagNode {
  readonly cid: Cid;
  readonly bytes: Uint8Array;
}

/** A child while its parent is open: `treeSizeBytes` counts the encoded blocks below it, itself included. */
interface Child {
  readonly cid: Cid;
  readonly sizeBytes: number;
  readonly treeSizeBytes: number;
}

export interface DagBuilder {
  /** Adds the next chunk of the file; gives the nodes that it filled. */
  addLeaf(leaf: { readonly cid: Cid; readonly sizeBytes: number }): DagNode[];
  /** Closes the open nodes. `blocks` counts leaves and nodes, as a have-map does. @throws RangeError without a leaf. */
  finish(): { root: Cid; nodes: DagNode[]; blocks: number; sizeBytes: number };
}

export function createDagBuilder(): DagBuilder {
  const levels: Child[][] = [];
  let blocks = 0;

  const close = (level: number, nodes: DagNode[]): void => {
    const { node, child } = makeNode(levels[level] ?? []);
    levels[level] = [];
    blocks += 1;
    nodes.push(node);
    add(level + 1, child, nodes);
  };
  const add = (level: number, child: Child, nodes: DagNode[]): void => {
    const open = (levels[level] ??= []);
    open.push(child);
    if (open.length === DAG_WIDTH_MAX) close(level, nodes);
  };

  return {
    addLeaf({ cid, sizeBytes }) {
      const nodes: DagNode[] = [];
      blocks += 1;
      add(0, { cid, sizeBytes, treeSizeBytes: sizeBytes }, nodes);
      return nodes;
    },
    finish() {
      const nodes: DagNode[] = [];
      for (let level = 0; level < levels.length; level += 1) {
        const open = levels[level] ?? [];
        const [only] = open;
        const isTop = level === levels.length - 1;
        if (isTop && open.length === 1 && only !== undefined)
          return { root: only.cid, nodes, blocks, sizeBytes: only.sizeBytes };
        if (open.length > 0) close(level, nodes);
      }
      throw new RangeError('a file has at least one chunk, an empty one if need be');
    },
  };
}

function makeNode(children: readonly Child[]): { node: DagNode; child: Child } {
  const unixfs = new UnixFS({ type: 'file', blockSizes: children.map((c) => BigInt(c.sizeBytes)) });
  const links = children.map((c) => ({ Name: '', Hash: toCid(c.cid), Tsize: c.treeSizeBytes }));
  const bytes = encode(prepare(createNode(unixfs.marshal(), links)));
  const cid = hashBlock('dag-pb', bytes);
  const sum = (of: (child: Child) => number) => children.reduce((total, c) => total + of(c), 0);
  return {
    node: { cid, bytes },
    child: {
      cid,
      sizeBytes: sum((c) => c.sizeBytes),
      treeSizeBytes: sum((c) => c.treeSizeBytes) + bytes.length,
    },
  };
}

/**
 * The children of a manifest node, with the file bytes below each.
 * @throws ManifestInvalid when the block is not a node of a file in our layout.
 */
export function readNode(
  cid: Cid,
  bytes: Uint8Array,
): { children: { cid: Cid; sizeBytes: number }[] } {
  try {
    const { Data, Links } = decode(bytes);
    const unixfs = UnixFS.unmarshal(Data ?? new Uint8Array());
    if (unixfs.type !== 'file') throw new TypeError(`its type is ${unixfs.type}`);
    if ((unixfs.data?.length ?? 0) > 0) throw new TypeError('it holds file bytes itself');
    if (Links.length === 0 || Links.length !== unixfs.blockSizes.length)
      throw new TypeError(`it has ${Links.length} links and ${unixfs.blockSizes.length} sizes`);
    const children = Links.map(({ Hash }, index) => {
      const sizeBytes = Number(unixfs.blockSizes[index]);
      if (!Number.isSafeInteger(sizeBytes)) throw new TypeError(`size ${index} is not a size`);
      return { cid: fromCid(Hash), sizeBytes };
    });
    return { children };
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new ManifestInvalid({ cid, reason }, { cause });
  }
}

/** A block of a DAG, where it stands. `offset` is that of its first byte in the file. */
export interface DagEntry {
  readonly cid: Cid;
  readonly kind: 'node' | 'leaf';
  readonly sizeBytes: number;
  readonly offset: number;
}

/** 16 Mi blocks are a file of 16 TiB: past that a manifest is an attack. */
const DAG_BLOCKS_MAX = 16 * 1024 * 1024;
/** Four levels of 1024 links are a million TiB. */
const DAG_DEPTH_MAX = 4;

/**
 * Lists a DAG in its order: depth first, parents before children. Nodes are read one at a time.
 * Sizes must add up at every level, so that a forged manifest is refused before its chunks are fetched.
 * @param sizeBytes The file's size; needed only when the root is a leaf, which does not say it.
 * @throws ManifestIncomplete when `getNode` gives undefined; ManifestInvalid.
 */
export async function listDag(
  root: Cid,
  sizeBytes: number | undefined,
  getNode: (cid: Cid) => Promise<Uint8Array | undefined>,
): Promise<DagEntry[]> {
  if (codecOf(root) === 'raw')
    return [{ cid: root, kind: 'leaf', sizeBytes: sizeBytes ?? 0, offset: 0 }];
  const entries: DagEntry[] = [];
  const visit = async (
    cid: Cid,
    claimedBytes: number | undefined,
    offset: number,
    depth: number,
  ): Promise<number> => {
    if (entries.length >= DAG_BLOCKS_MAX || depth > DAG_DEPTH_MAX)
      throw new ManifestInvalid({ cid, reason: 'the DAG is larger or deeper than any file' });
    if (codecOf(cid) === 'raw') {
      const leafBytes = claimedBytes ?? 0;
      if (leafBytes > BLOCK_SIZE_MAX_BYTES)
        throw new ManifestInvalid({ cid, reason: `a leaf of ${leafBytes} bytes is too large` });
      entries.push({ cid, kind: 'leaf', sizeBytes: leafBytes, offset });
      return leafBytes;
    }
    const bytes = await getNode(cid);
    if (bytes === undefined) throw new ManifestIncomplete({ root, cid });
    const { children } = readNode(cid, bytes);
    const place = entries.length;
    entries.push({ cid, kind: 'node', sizeBytes: 0, offset });
    let below = 0;
    for (const child of children)
      below += await visit(child.cid, child.sizeBytes, offset + below, depth + 1);
    if (claimedBytes !== undefined && claimedBytes !== below)
      throw new ManifestInvalid({
        cid,
        reason: `its parent says ${claimedBytes} bytes, its children have ${below}`,
      });
    entries[place] = { cid, kind: 'node', sizeBytes: below, offset };
    return below;
  };
  await visit(root, undefined, 0, 0);
  return entries;
}
