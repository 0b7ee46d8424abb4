/**
 * Reading directories, flat and HAMT: one name, or all of them.
 *
 * A few shards that name each other often enough lead on forever. The way to one name ends with its
 * hash; a listing has bounds. They are not on names, of which a directory may have any number, but on
 * shards that lead to none: a shard stands for two names or more, so an honest listing finds more
 * names than it reads shards.
 */
import { DAG_BLOCKS_MAX, ManifestIncomplete, ManifestInvalid } from '@shoal/protocol';
import { slotsOf } from './directory.ts';
import type { BlockCid } from '../read-cid.ts';
import { type NodeLink, readUnixfs, targetOf, type UnixfsNode } from './unixfs.ts';
import { type GetNode, prefixLength } from './walk-dag.ts';

/**
 * 64 bits of hash, at least 3 a level, are 22 levels.
 * Past it: 422 `manifest-invalid`; a page that has begun breaks off.
 */
const SHARD_LEVELS_MAX = 22;
/**
 * How many more shards than names may have been read; a guess, some seconds of reading.
 * Past it: 422 `manifest-invalid`; a page that has begun breaks off.
 */
const BARREN_SHARDS_MAX = 16_384;

/** A name in a directory, and its link. */
export interface NamedLink {
  readonly name: string;
  readonly link: NodeLink;
}

/**
 * Finds a name. `onShard` is called for each further node that was read.
 * @returns undefined when it is not there, or when the node is no directory.
 * @throws ManifestIncomplete, ManifestInvalid.
 */
export async function findEntry(
  directory: UnixfsNode,
  name: string,
  getNode: GetNode,
  onShard: (shard: BlockCid) => void = () => {},
): Promise<NodeLink | undefined> {
  if (directory.type === 'directory') return directory.links.find((link) => link.name === name);
  if (directory.type !== 'shard') return undefined;
  const bits = bitsOf(await slotsOf(name));
  for (let node = directory; ;) {
    const prefix = nextPrefix(bits, node.fanout);
    if (prefix === undefined) return undefined; // 64 bits of hash lead no further
    const entry = node.links.find((link) => link.name === prefix + name);
    if (entry !== undefined) return entry;
    const shard = node.links.find((link) => link.name === prefix);
    if (shard === undefined) return undefined;
    const { target, node: next } = await readShard(shard, getNode);
    onShard(target);
    node = next;
  }
}

/**
 * All names, in the order of the nodes.
 * @throws ManifestIncomplete; ManifestInvalid, also when shards go on without end.
 */
export async function* listEntries(
  directory: UnixfsNode,
  getNode: GetNode,
): AsyncGenerator<NamedLink, void, undefined> {
  if (directory.type === 'directory')
    for (const link of directory.links) yield { name: link.name, link };
  if (directory.type !== 'shard') return;
  yield* listShard(directory, 1, { shards: 1, names: 0 }, getNode);
}

/** The names of one shard, and of those below. `seen` counts over the whole listing. */
async function* listShard(
  shard: UnixfsNode,
  level: number,
  seen: { shards: number; names: number },
  getNode: GetNode,
): AsyncGenerator<NamedLink, void, undefined> {
  const prefix = prefixLength(shard.fanout);
  const [first] = shard.links;
  // Each level stays in memory for as long as those below are read.
  if (first !== undefined && shard.links.length > shard.fanout)
    throw refuseListing(first, 'the shard above it has more links than slots');
  for (const link of shard.links) {
    if (seen.shards + seen.names >= DAG_BLOCKS_MAX)
      throw refuseListing(link, 'the directory is larger than any');
    if (link.name.length > prefix) {
      seen.names += 1;
      yield { name: link.name.slice(prefix), link };
      continue;
    }
    if (level >= SHARD_LEVELS_MAX) throw refuseListing(link, 'the directory is deeper than a hash');
    if (seen.shards - seen.names >= BARREN_SHARDS_MAX)
      throw refuseListing(link, 'too many shards of the directory lead to no name');
    seen.shards += 1;
    yield* listShard((await readShard(link, getNode)).node, level + 1, seen, getNode);
  }
}

const refuseListing = ({ cid }: NodeLink, reason: string) =>
  new ManifestInvalid({ cid: cid.toString(), reason });

async function readShard(
  link: NodeLink,
  getNode: GetNode,
): Promise<{ target: BlockCid; node: UnixfsNode }> {
  const target = targetOf(link);
  if (target.kind === 'identity') throw new Error('a shard is never an identity CID');
  const { cid } = target;
  const bytes = await getNode(cid);
  if (bytes === undefined) throw new ManifestIncomplete({ root: cid, cid });
  const node = readUnixfs(cid, bytes);
  if (node.type !== 'shard') throw new ManifestInvalid({ cid, reason: 'it is no shard' });
  return { target, node };
}

/** Bits of a hash, from the highest of its first byte on. */
function bitsOf(hash: Uint8Array): Iterator<number> {
  const bits = [...hash].flatMap((byte) => [7, 6, 5, 4, 3, 2, 1, 0].map((at) => (byte >> at) & 1));
  return bits.values();
}

/** The slot at the next level, as link names begin with; undefined when the hash is used up. */
function nextPrefix(bits: Iterator<number>, fanout: number): string | undefined {
  let slot = 0;
  for (let left = fanout; left > 1; left /= 2) {
    const bit = bits.next();
    if (bit.done === true) return undefined;
    slot = slot * 2 + bit.value;
  }
  return slot.toString(16).toUpperCase().padStart(prefixLength(fanout), '0');
}
