/**
 * Merkle trees over texts that are signed together: one of the texts, its place and the hashes beside its way up give
 * the root, and so prove that it was among them. RFC 9162, section 2.1, with SHA-256.
 */
import assert from 'node:assert';
import { createHash } from 'node:crypto';

/** The place of a leaf in its tree, and the hashes beside its way to the root, from the leaf up. */
export interface AuditPath {
  readonly index: number;
  /** Leaves of the tree. */
  readonly size: number;
  /** base64url. */
  readonly hashes: readonly string[];
}

/** A leaf must never pass for an inner node. */
const [LEAF, NODE] = [Buffer.of(0), Buffer.of(1)];

/** The root of the tree of these leaves, and the way to it of each. */
export function treeOf(leaves: readonly string[]): { root: Buffer; paths: AuditPath[] } {
  assert(leaves.length > 0, 'a tree has a leaf');
  let level = leaves.map(hashLeaf);
  const paths = leaves.map(() => [] as string[]);
  for (let height = 0; level.length > 1; height += 1) {
    for (const [leaf, path] of paths.entries()) {
      const sibling = level[(leaf >> height) ^ 1];
      if (sibling !== undefined) path.push(sibling.toString('base64url'));
    }
    level = pairsOf(level).map(([left, right]) => (right ? hashNode(left, right) : left));
  }
  const [root] = level;
  assert(root !== undefined, 'levels end with the root');
  return {
    root,
    paths: paths.map((hashes, index) => ({ index, size: leaves.length, hashes })),
  };
}

/** The root of the tree in which a leaf has this path; undefined when there is no such tree. */
export function rootOf(leaf: string, { index, size, hashes }: AuditPath): Buffer | undefined {
  if (index >= size) return undefined;
  let [place, last] = [index, size - 1];
  let hash = hashLeaf(leaf);
  for (const text of hashes) {
    if (last === 0) return undefined;
    const sibling = Buffer.from(text, 'base64url');
    if (place % 2 === 1 || place === last) {
      hash = hashNode(sibling, hash);
      // The last of a level of odd length has no sibling there, and stands for itself one level up.
      while (place % 2 === 0 && place !== 0) [place, last] = [place >> 1, last >> 1];
    } else hash = hashNode(hash, sibling);
    [place, last] = [place >> 1, last >> 1];
  }
  return last === 0 ? hash : undefined;
}

function pairsOf(level: readonly Buffer[]): [Buffer, Buffer | undefined][] {
  const pairs: [Buffer, Buffer | undefined][] = [];
  for (let at = 0; at < level.length; at += 2) {
    const left = level[at];
    if (left !== undefined) pairs.push([left, level[at + 1]]);
  }
  return pairs;
}

const hashLeaf = (text: string): Buffer => createHash('sha256').update(LEAF).update(text).digest();
const hashNode = (left: Buffer, right: Buffer): Buffer =>
  createHash('sha256').update(NODE).update(left).update(right).digest();
