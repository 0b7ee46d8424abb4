/**
 * The entries of a TAR of a file or directory, in its order: a directory, then its contents.
 *
 * Unpacking it must not lead out of its root, not even with an unpacker that follows symlinks or takes
 * names as they come. So names are resolved here (`a/../b` is `b`, one that leads out is refused),
 * and symlinks are held to the rule of `leadsOut`. That rule counts folders, so a TAR with symlinks has
 * plain names alone.
 */
import { posix } from 'node:path';
import {
  type Attributes,
  DAG_DEPTH_MAX,
  leadsOut,
  listEntries,
  type ReadCid,
  readTarget,
  targetOf,
  type UnixfsNode,
} from '@shoal/blocks';
import {
  DAG_BLOCKS_MAX,
  entryNameFault,
  FormatUnsupported,
  LinkLeadsOut,
  ManifestInvalid,
  visibleName,
} from '@shoal/protocol';
import type { BlockReader } from '../../fetch/any-blocks.ts';
import { linksOfNode } from '../../fetch/read-budget.ts';

/** Twice what Linux takes; a few hundred entries are held while the first are sent. */
const TAR_PATH_MAX_BYTES = 8192;

export interface TarEntry {
  readonly kind: 'file' | 'directory' | 'symlink';
  readonly path: string;
  /** Of a file; undefined of a raw block, which does not say it before it is here. */
  readonly sizeBytes: number | undefined;
  /** Where a symlink leads; empty of everything else. */
  readonly linkTo: string;
  readonly attributes: Attributes | undefined;
  readonly target: ReadCid;
}

/** State shared by all entries of one TAR. */
interface Walk {
  readonly reader: Pick<BlockReader, 'getNode'>;
  /** Called with the number of links in memory. */
  readonly onLinks: (links: number) => void;
  links: number;
  entries: number;
  hasSymlinks: boolean;
  hasOddNames: boolean;
}

/**
 * The entries below `root`, itself first, under `name`.
 * @throws LinkLeadsOut; FormatUnsupported for what is no file or directory; ManifestInvalid and what `getNode` throws.
 */
export async function* tarEntries(
  root: ReadCid,
  name: string,
  reader: Pick<BlockReader, 'getNode' | 'holdLinks'>,
): AsyncGenerator<TarEntry, void, undefined> {
  using held = reader.holdLinks();
  const onLinks = (links: number) => held.set(links);
  const walk = { reader, onLinks, links: 0, entries: 0, hasSymlinks: false, hasOddNames: false };
  yield* entriesAt(root, name, 0, walk);
}

async function* entriesAt(
  target: ReadCid,
  path: string,
  depth: number,
  walk: Walk,
): AsyncGenerator<TarEntry, void, undefined> {
  const refuse = (reason: string) => new ManifestInvalid({ cid: target.asGiven, reason });
  walk.entries += 1;
  if (walk.entries > DAG_BLOCKS_MAX || depth > DAG_DEPTH_MAX)
    throw refuse('the directory is larger or deeper than any');
  if (Buffer.byteLength(path) > TAR_PATH_MAX_BYTES)
    throw refuse(`the path to it has more than ${TAR_PATH_MAX_BYTES} bytes`);
  const node = await readTarget(target, walk.reader.getNode);
  const common = { path, target, linkTo: '', attributes: node?.attributes };
  if (node === undefined || node.type === 'file') {
    yield { ...common, kind: 'file', sizeBytes: sizeOf(target, node) };
  } else if (node.type === 'symlink') {
    walk.hasSymlinks = true;
    const isPlain = !walk.hasOddNames && !leadsOut(node.data, depth - 1);
    if (!isPlain) throw new LinkLeadsOut({ path: visibleName(path) });
    const linkTo = Buffer.from(node.data).toString();
    if (linkTo.includes('\0') || !Buffer.from(linkTo).equals(node.data))
      throw refuse('a TAR can’t say where the symlink leads');
    yield { ...common, kind: 'symlink', sizeBytes: 0, linkTo };
  } else if (node.type === 'directory' || node.type === 'shard') {
    yield { ...common, kind: 'directory', sizeBytes: 0 };
    yield* entriesIn(node, path, depth, walk);
  } else throw new FormatUnsupported({ format: 'a TAR' });
}

async function* entriesIn(
  node: UnixfsNode,
  path: string,
  depth: number,
  walk: Walk,
): AsyncGenerator<TarEntry, void, undefined> {
  const links = linksOfNode(node.links.length);
  walk.links += links;
  walk.onLinks(walk.links);
  for await (const { name, link } of listEntries(node, walk.reader.getNode)) {
    const below = pathOf(path, name, walk);
    yield* entriesAt(targetOf(link), below, depth + 1, walk);
  }
  walk.links -= links;
  walk.onLinks(walk.links);
}

/** A name's path below the root. @throws LinkLeadsOut */
function pathOf(path: string, name: string, walk: Walk): string {
  if (entryNameFault(name) === undefined) return `${path}/${name}`;
  walk.hasOddNames = true;
  const joined = posix.join(path, name).replace(/\/$/, '');
  const root = path.split('/', 1).join();
  const isInside = joined.startsWith(`${root}/`) && !name.includes('\0');
  const isAbove = `${path}/`.startsWith(`${joined}/`); // a folder of its own
  if (!isInside || isAbove || walk.hasSymlinks)
    throw new LinkLeadsOut({ path: visibleName(`${path}/${name}`) });
  return joined;
}

function sizeOf(target: ReadCid, node: UnixfsNode | undefined): number | undefined {
  if (node !== undefined) return node.fileSizeBytes;
  return target.kind === 'identity' ? target.bytes.length : undefined;
}
