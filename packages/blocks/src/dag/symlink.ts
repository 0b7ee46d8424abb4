/** Symlinks as UnixFS writes them: a node whose data is the target. */
import { createNode, encode, prepare } from '@ipld/dag-pb';
import { UnixFS } from 'ipfs-unixfs';
import { type Attributes, unixfsAttributes } from './attributes.ts';
import { hashBlock } from '../cid.ts';
import type { DagNode } from './dag.ts';

/** The node of a symlink. `target` is not checked: it may be any bytes. */
export function buildSymlink(target: Uint8Array, attributes?: Attributes): DagNode {
  const unixfs = new UnixFS({ type: 'symlink', data: target, ...unixfsAttributes(attributes) });
  const bytes = encode(prepare(createNode(unixfs.marshal(), [])));
  return { cid: hashBlock('dag-pb', bytes), bytes };
}

/**
 * Whether a symlink may lead out of its folder, `depth` folders below the top. Steps up
 * are counted where they come first, in folders that we made; after a name they can't be counted, since
 * that name may be a link itself. Links that each stay inside also do so together.
 */
export function leadsOut(target: Uint8Array, depth: number): boolean {
  const text = Buffer.from(target).toString('latin1'); // bytes, of which "/" and "." alone count
  if (text.startsWith('/')) return true;
  const steps = text.split('/').filter((step) => step !== '' && step !== '.');
  const down = steps.findIndex((step) => step !== '..');
  const ups = down < 0 ? steps.length : down;
  return ups > depth || (down >= 0 && steps.slice(down).includes('..'));
}
