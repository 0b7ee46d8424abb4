/**
 * A file's DAG: the manifest nodes above its chunks, in the balanced layout of `unixfs-v1-2025`.
 *
 * Nodes are built as leaves come, so that an upload of any size holds at most one open node for each
 * level. Field order, names and cumulative sizes follow the dag-pb and UnixFS specifications, since
 * one byte of difference is another CID.
 */
import { createNode, encode, prepare } from '@ipld/dag-pb';
import { type Cid, DAG_WIDTH_MAX } from '@shoal/protocol';
import { UnixFS } from 'ipfs-unixfs';
import { type Attributes, unixfsAttributes } from './attributes.ts';
import { hashBlock, toCid } from '../cid.ts';

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
  /**
   * Closes the open nodes. `blocks` counts leaves and nodes, as a have-map does. With attributes the root
   * is a node of its own, which holds them: the CID is another one. @throws RangeError without a leaf.
   */
  finish(attributes?: Attributes): {
    root: Cid;
    nodes: DagNode[];
    blocks: number;
    sizeBytes: number;
    /** Encoded size of all blocks, as a link to the file states it. */
    treeSizeBytes: number;
  };
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
    finish(attributes) {
      const nodes: DagNode[] = [];
      for (let level = 0; level < levels.length; level += 1) {
        const open = levels[level] ?? [];
        const [only] = open;
        const isTop = level === levels.length - 1;
        if (isTop && attributes !== undefined && only !== undefined) {
          const { node, child } = makeNode(open, attributes);
          const { cid: root, sizeBytes, treeSizeBytes } = child;
          return { root, nodes: [...nodes, node], blocks: blocks + 1, sizeBytes, treeSizeBytes };
        }
        if (isTop && open.length === 1 && only !== undefined)
          return {
            root: only.cid,
            nodes,
            blocks,
            sizeBytes: only.sizeBytes,
            treeSizeBytes: only.treeSizeBytes,
          };
        if (open.length > 0) close(level, nodes);
      }
      throw new RangeError('a file has at least one chunk, an empty one if need be');
    },
  };
}

function makeNode(
  children: readonly Child[],
  attributes?: Attributes,
): { node: DagNode; child: Child } {
  const unixfs = new UnixFS({
    type: 'file',
    blockSizes: children.map((c) => BigInt(c.sizeBytes)),
    ...unixfsAttributes(attributes),
  });
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
