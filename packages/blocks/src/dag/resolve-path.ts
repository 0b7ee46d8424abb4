/** Paths through directories to what they name. */
import { ManifestIncomplete, PathNotFound } from '@shoal/protocol';
import { codecOf } from '../cid.ts';
import { findEntry } from './read-directory.ts';
import type { BlockCid, ReadCid } from '../read-cid.ts';
import { readUnixfs, targetOf, type UnixfsNode } from './unixfs.ts';
import type { GetNode } from './walk-dag.ts';

export interface ResolvedPath {
  readonly target: ReadCid;
  /** One CID a segment, the root first and the target last; spelled as its parent spells it. */
  readonly roots: readonly string[];
  /** Blocks that lead to the target, in order, shards included, the target itself not. */
  readonly trail: readonly BlockCid[];
}

/**
 * Follows `segments` (decoded, none empty) down from a root.
 * @throws PathNotFound, naming the segment; ManifestIncomplete when a node on the way is nowhere;
 * ManifestInvalid; CidUnsupported when the way leads through another codec or hash.
 */
export async function resolvePath(
  root: ReadCid,
  segments: readonly string[],
  getNode: GetNode,
): Promise<ResolvedPath> {
  const roots = [root.asGiven];
  const trail: BlockCid[] = [];
  let target = root;
  for (const segment of segments) {
    const node = await readTarget(target, getNode);
    if (target.kind === 'block') trail.push(target);
    const link =
      node && (await findEntry(node, segment, getNode, (shard) => void trail.push(shard)));
    if (link === undefined)
      throw new PathNotFound({ root: root.asGiven, segment: segment.slice(0, 255) });
    target = targetOf(link);
    roots.push(target.asGiven);
  }
  return { target, roots, trail };
}

/** The node that a CID names; undefined for raw bytes, which lead nowhere. @throws ManifestIncomplete */
export async function readTarget(
  target: ReadCid,
  getNode: GetNode,
): Promise<UnixfsNode | undefined> {
  if (target.kind === 'identity')
    return target.codec === 'raw' ? undefined : readUnixfs(target.asGiven, target.bytes);
  const { cid } = target;
  if (codecOf(cid) === 'raw') return undefined;
  const bytes = await getNode(cid);
  if (bytes === undefined) throw new ManifestIncomplete({ root: cid, cid });
  return readUnixfs(cid, bytes);
}
