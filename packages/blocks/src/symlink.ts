/** Symlinks as UnixFS writes them: a node whose data is the target. */
import { createNode, encode, prepare } from '@ipld/dag-pb';
import { UnixFS } from 'ipfs-unixfs';
import { type Attributes, unixfsAttributes } from './attributes.ts';
import { hashBlock } from './cid.ts';
import type { DagNode } from './dag.ts';

/** The node of a symlink. `target` is not looked at: any bytes may stand there. */
export function buildSymlink(target: Uint8Array, attributes?: Attributes): DagNode {
  const unixfs = new UnixFS({ type: 'symlink', data: target, ...unixfsAttributes(attributes) });
  const bytes = encode(prepare(createNode(unixfs.marshal(), [])));
  return { cid: hashBlock('dag-pb', bytes), bytes };
}
