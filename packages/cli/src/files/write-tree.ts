/**
 * A CAR of a directory, written as the folder that it describes, while it comes in. The CAR has each
 * block where a walk comes by it, so one block at a time is enough; each is hashed before it is used.
 *
 * The DAG may be a stranger's, and must stay in the folder: names are plain names, files and folders are
 * made and never opened, so that nothing is ever written through a symlink.
 */
import { chmod, type FileHandle, lutimes, mkdir, open, symlink } from 'node:fs/promises';
import { join, relative } from 'node:path';
import {
  type Attributes,
  type CarBlock,
  codecOf,
  fileBytesOf,
  leadsOut,
  listEntries,
  openCar,
  type ReadCid,
  readCid,
  readLink,
  readUnixfs,
  targetOf,
  type UnixfsNode,
  verify,
  walkDag,
} from '@shoal/blocks';
import { type Cid, entryNameFault, Problem, visibleName } from '@shoal/protocol';
import { CommandFailure } from '../failure.ts';

/** Folders in folders: what a peer takes is less. Past it: the command fails. */
const DEPTH_MAX = 256;

export interface WrittenTree {
  readonly files: number;
  readonly folders: number;
  readonly symlinks: number;
  readonly sizeBytes: number;
}

/**
 * Writes what `root` names to `path`, which must not be there.
 * @throws CommandFailure for a name that can't be written here, and for a CAR that is not the DAG.
 */
export async function writeTree(
  source: AsyncIterable<Uint8Array>,
  root: string,
  path: string,
  {
    onBytes,
    isPreserving = false,
    withLinksOut = false,
  }: {
    readonly onBytes: (bytes: number) => void;
    /** Sets modes and times where nodes carry them. */
    readonly isPreserving?: boolean;
    /** Takes symlinks that lead out of the folder. */
    readonly withLinksOut?: boolean;
  },
): Promise<WrittenTree> {
  // Set at the end: a folder that may not be written to could not be filled.
  const kept: { readonly at: string; readonly attributes: Attributes }[] = [];
  const written = { files: 0, folders: 0, symlinks: 0, sizeBytes: 0 };
  try {
    const { blocks } = await openCar(source);
    const take = blockTaker(blocks);

    const writeEntry = async (target: ReadCid, at: string, depth: number): Promise<void> => {
      if (depth > DEPTH_MAX) throw new CommandFailure(`${at} is too deep`);
      if (target.kind === 'identity' && target.codec === 'raw')
        return writeFile([target.bytes], at);
      if (target.kind === 'block' && codecOf(target.cid) === 'raw')
        return writeFile([await take(target.cid)], at);
      const bytes = target.kind === 'block' ? await take(target.cid) : target.bytes;
      const node = readUnixfs(target.asGiven, bytes);
      if (isPreserving && node.attributes !== undefined)
        kept.push({ at, attributes: node.attributes });
      if (node.type === 'directory' || node.type === 'shard') return writeFolder(node, at, depth);
      if (node.type === 'symlink') {
        if (!withLinksOut && leadsOut(node.data, depth - 1))
          throw new CommandFailure(
            `the symlink ${visibleName(relative(path, at))} may lead out of the folder, to ${visibleName(Buffer.from(node.data).toString())}; nothing was kept, take it with --links-out`,
          );
        await symlink(Buffer.from(node.data), at);
        written.symlinks += 1;
        return undefined;
      }
      if (node.type !== 'file') throw new CommandFailure(`${target.asGiven} is no file or folder`);
      return writeFile(fileBytes(target, bytes, take), at);
    };
    const writeFolder = async (node: UnixfsNode, at: string, depth: number): Promise<void> => {
      await mkdir(at);
      written.folders += 1;
      for await (const { name, link } of listEntries(node, take)) {
        const fault = entryNameFault(name);
        if (fault !== undefined)
          throw new CommandFailure(`a name in it can't be written here, since ${fault}`);
        await writeEntry(targetOf(link), join(at, name), depth + 1);
      }
    };
    const writeFile = async (
      pieces: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
      at: string,
    ): Promise<void> => {
      await using file: FileHandle = await open(at, 'wx');
      for await (const piece of pieces) {
        await file.writeFile(piece); // appends
        written.sizeBytes += piece.length;
        onBytes(piece.length);
      }
      written.files += 1;
    };

    await writeEntry(readCid(root), path, 0);
    for (const entry of kept.toReversed()) await setAttributes(entry);
    return written;
  } catch (error) {
    if (error instanceof Problem) throw new CommandFailure(error.message, { cause: error });
    throw error;
  }
}

async function setAttributes({
  at,
  attributes: { mode, mtime },
}: {
  readonly at: string;
  readonly attributes: Attributes;
}): Promise<void> {
  // No set-user-id of a stranger's.
  if (mode !== undefined) await chmod(at, mode & 0o777);
  if (mtime === undefined) return;
  const atSeconds = Number(mtime.secs) + mtime.nsecs / 1e9;
  await lutimes(at, atSeconds, atSeconds);
}

/** Takes the next block of a CAR, which must be the one that is asked for. */
function blockTaker(
  blocks: AsyncGenerator<CarBlock, void, undefined>,
): (cid: Cid) => Promise<Uint8Array> {
  return async (cid) => {
    const next = await blocks.next();
    if (next.done === true) throw new CommandFailure(`the peer left out block ${cid}`);
    const { bytes, cid: given } = next.value;
    const named = readLink(given);
    if (named.kind !== 'block' || named.cid !== cid || !verify(cid, bytes))
      throw new CommandFailure(`the peer sent another block in the place of ${cid}`);
    return bytes;
  };
}

/** The bytes of a file whose root is at hand, in order. */
async function* fileBytes(
  target: ReadCid,
  rootBytes: Uint8Array,
  take: (cid: Cid) => Promise<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  if (target.kind === 'identity') {
    yield readUnixfs(target.asGiven, rootBytes).data;
    return;
  }
  let node = rootBytes;
  const getNode = async (cid: Cid) => (node = cid === target.cid ? rootBytes : await take(cid));
  for await (const entry of walkDag(target.cid, getNode, { withInline: true })) {
    const bytes =
      entry.inline ??
      fileBytesOf(codecOf(entry.cid), entry.kind === 'node' ? node : await take(entry.cid));
    if (bytes.length !== entry.sizeBytes)
      throw new CommandFailure(`block ${entry.cid} has not the bytes that its file says`);
    if (bytes.length > 0) yield bytes;
  }
}
