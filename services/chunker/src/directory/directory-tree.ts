/**
 * The tree that the names of a form's parts make. Parts come in any order; of each file only its name
 * and what names its bytes stay here. Directories are built at the end, the lowest first.
 */
import assert from 'node:assert/strict';
import { type Attributes, buildDirectory, type DagNode } from '@shoal/blocks';
import {
  type Cid,
  DirectoryInvalid,
  type DirectoryItem,
  entryNameFault,
  fileNameFault,
  PATH_SEGMENTS_MAX,
  PATH_SIZE_MAX_BYTES,
} from '@shoal/protocol';

export type ItemKind = DirectoryItem['kind'];

/** The result for a file or symlink. */
export interface TreeLeaf {
  readonly cid: Cid;
  readonly sizeBytes: number;
  readonly treeSizeBytes: number;
  /** Entries of its DAG. */
  readonly blocks: number;
}

export interface BuiltTree extends TreeLeaf {
  /** Files, directories and symlinks below it. */
  readonly entries: number;
}

export interface DirectoryTree {
  /** Its own name; unknown until the first path, when none was given. */
  readonly name: string | undefined;
  /**
   * Takes the place that a path names, before its bytes are read; a file or symlink is put there
   * afterwards. Attributes are of a directory; a file's are in its own nodes.
   * @throws DirectoryInvalid
   */
  claim(path: string, kind: ItemKind, attributes?: Attributes): (leaf: TreeLeaf) => void;
  /**
   * Builds the directories.
   * @param onNodes Stores the nodes of one.
   * @param onItem Told of everything below the root.
   */
  build(tell: {
    readonly onNodes: (nodes: readonly DagNode[]) => Promise<void>;
    readonly onItem: (item: DirectoryItem) => void;
  }): Promise<BuiltTree>;
}

/** A folder, a file or symlink, or a place that was claimed for one. */
type Child = Folder | { readonly kind: 'file' | 'symlink'; leaf: TreeLeaf | undefined };

interface Folder {
  readonly kind: 'directory';
  readonly children: Map<string, Child>;
  /** Whether a part named it, not only a path through it. */
  isNamed: boolean;
  attributes: Attributes | undefined;
}

/** @param name Of a new directory around all paths; if undefined, they must share their first segment. */
export function createDirectoryTree({
  name: given,
  entriesMax,
}: {
  readonly name: string | undefined;
  readonly entriesMax: number;
}): DirectoryTree {
  const root = createFolder();
  let name = given;
  let entries = 0;

  const addChild = (folder: Folder, segment: string, child: Child, path: string) => {
    entries += 1;
    if (entries > entriesMax)
      throw new DirectoryInvalid({ path, reason: `one upload has at most ${entriesMax} entries` });
    folder.children.set(segment, child);
  };
  /** The segments below the root; none for the root itself. */
  const below = (path: string): string[] => {
    const segments = segmentsOf(path, { isNamed: given === undefined });
    if (given !== undefined) return segments;
    const [first = '', ...rest] = segments;
    name ??= first;
    if (first !== name)
      throw new DirectoryInvalid({
        path,
        reason: `it does not begin with "${name}/" as the others do; give the whole a name with ?name=`,
      });
    return rest;
  };
  const claim = (path: string, kind: ItemKind, attributes: Attributes | undefined): Child => {
    const refuse = (reason: string) => new DirectoryInvalid({ path: path.slice(0, 255), reason });
    const segments = below(path);
    if (segments.length > PATH_SEGMENTS_MAX)
      throw refuse(`it is deeper than ${PATH_SEGMENTS_MAX} folders`);
    const last = segments.pop();
    let folder = root;
    for (const segment of segments) {
      let child = folder.children.get(segment);
      if (child === undefined) addChild(folder, segment, (child = createFolder()), path);
      if (child.kind !== 'directory') throw refuse(`"${segment}" is a file and a folder`);
      folder = child;
    }
    const known = last === undefined ? root : folder.children.get(last);
    if (kind === 'directory') {
      const own = known ?? createFolder();
      if (own.kind !== 'directory') throw refuse('it is a file and a folder');
      if (own.isNamed) throw refuse('it comes twice');
      own.isNamed = true;
      own.attributes = attributes;
      if (known === undefined && last !== undefined) addChild(folder, last, own, path);
      return own;
    }
    if (last === undefined) throw refuse('it is in no folder; name one with ?name=');
    if (known !== undefined)
      throw refuse(known.kind === 'directory' ? 'it is a file and a folder' : 'it comes twice');
    const place = { kind, leaf: undefined };
    addChild(folder, last, place, path);
    return place;
  };

  return {
    get name() {
      return name;
    },
    claim(path, kind, attributes) {
      const place = claim(path, kind, attributes);
      return (leaf) => {
        if (place.kind !== 'directory') place.leaf = leaf;
      };
    },
    async build(tell) {
      return { ...(await buildFolder(root, '', tell)), entries };
    },
  };
}

async function buildFolder(
  folder: Folder,
  path: string,
  tell: Parameters<DirectoryTree['build']>[0],
): Promise<TreeLeaf> {
  const links: { name: string; cid: Cid; treeSizeBytes: number }[] = [];
  let sizeBytes = 0;
  let blocks = 0;
  for (const [name, child] of folder.children) {
    const childPath = path === '' ? name : `${path}/${name}`;
    const built =
      child.kind === 'directory' ? await buildFolder(child, childPath, tell) : child.leaf;
    assert(built !== undefined, 'a place that was claimed is filled');
    const { cid, treeSizeBytes } = built;
    links.push({ name, cid, treeSizeBytes });
    sizeBytes += built.sizeBytes;
    blocks += built.blocks;
    const { kind } = child;
    tell.onItem({ path: childPath, cid, kind, sizeBytes: built.sizeBytes, treeSizeBytes });
  }
  const { cid, nodes, treeSizeBytes } = await buildDirectory(links, folder.attributes).catch(
    (cause: unknown) => {
      if (!(cause instanceof DirectoryInvalid)) throw cause;
      const { path: name, reason } = cause.fields;
      throw new DirectoryInvalid({ path: `${path}/${name}`, reason }, { cause });
    },
  );
  await tell.onNodes(nodes);
  return { cid, sizeBytes, treeSizeBytes, blocks: blocks + nodes.length };
}

const createFolder = (): Folder => ({
  kind: 'directory',
  children: new Map(),
  isNamed: false,
  attributes: undefined,
});

/** @param isNamed Whether the first segment is the name of the whole, as lists show it. @throws DirectoryInvalid */
function segmentsOf(path: string, { isNamed }: { readonly isNamed: boolean }): string[] {
  const refuse = (reason: string) => new DirectoryInvalid({ path: path.slice(0, 255), reason });
  if (Buffer.byteLength(path) > PATH_SIZE_MAX_BYTES)
    throw refuse(`it is longer than ${PATH_SIZE_MAX_BYTES} bytes`);
  if (path.startsWith('/')) throw refuse('it begins at the root; give a relative path');
  const segments = path.split('/');
  for (const [index, segment] of segments.entries()) {
    const fault = isNamed && index === 0 ? fileNameFault(segment) : entryNameFault(segment);
    if (fault !== undefined) throw refuse(`of the segment "${segment.slice(0, 255)}", ${fault}`);
  }
  return segments;
}
