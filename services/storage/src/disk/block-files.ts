/**
 * Large blocks, one file each, in 256 folders by the first byte of the digest. A block is written
 * under a temporary name and synced before it is renamed: its name is never that of half a block.
 * A crash leaves drafts, which opening clears, or a block that the index does not know, which
 * `strays` finds.
 */
import { randomUUID } from 'node:crypto';
import { closeSync, fstatSync, openSync, read } from 'node:fs';
import { readdir, rename as move, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { Digest } from './block-record.ts';
import type { FileIo } from './file-io.ts';

/** Damaged blocks that are kept for a look; past that they are deleted. */
const QUARANTINE_BLOCKS_MAX = 128;

/** Folders of blocks: one for each first byte of a digest. */
export const FOLDERS = 256;

const readAt = promisify(read);

/** A block under its temporary name, open as `fd`. */
export interface Draft {
  readonly digest: Digest;
  readonly path: string;
  readonly fd: number;
}

/** A piece of a file: `bytes` is what is filled from there. */
export interface FilePart {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

export interface BlockFiles {
  draft(digest: Digest, bytes: Uint8Array): Promise<Draft>;
  discard(draft: Draft): void;
  /** Makes drafts durable under their names; answers for each the error that stopped it, or undefined. */
  publish(drafts: readonly Draft[]): Promise<(Error | undefined)[]>;
  /** Size of a block's file; undefined when there is none. */
  sizeOf(digest: Digest): Promise<number | undefined>;
  /** Fills `buffer` from the start of the file; gives how much there was. */
  read(digest: Digest, buffer: Uint8Array): Promise<number>;
  /** Fills each part from its offset in the file; false when that is not of this size. */
  readParts(digest: Digest, sizeBytes: number, parts: readonly FilePart[]): Promise<boolean>;
  remove(digest: Digest): Promise<void>;
  /** Moves a damaged block out of the way; `rest` is what there is of one that has no file. */
  quarantine(digest: Digest, rest?: Uint8Array): Promise<void>;
  /** Blocks that have a file in this folder (0 to 255). */
  list(folder: number): Promise<Digest[]>;
}

/** Where a block's files are: its own by `pathOf`; drafts and damaged blocks each in a folder of theirs. */
interface Folders {
  readonly tmp: string;
  readonly quarantine: string;
  readonly pathOf: (digest: Digest) => string;
  /** One of the folders of blocks, 0 to 255. */
  readonly folderAt: (index: number) => string;
}

export async function openBlockFiles(
  dir: string,
  disk: { readonly isDurable: boolean; readonly io: FileIo },
): Promise<BlockFiles> {
  const folders = await openFolders(dir, disk);
  return {
    ...writing(folders, disk),
    ...reading(folders),
    remove: (digest) => disk.io.remove(folders.pathOf(digest)),
    quarantine: (digest, rest) => moveToQuarantine(folders, digest, rest),
    list: async (folder) =>
      (await readdir(folders.folderAt(folder))).flatMap((name) => {
        const digest = Digest.safeParse(name);
        return digest.success ? [digest.data] : [];
      }),
  };
}

async function openFolders(
  dir: string,
  { isDurable, io }: { readonly isDurable: boolean; readonly io: FileIo },
): Promise<Folders> {
  const tmp = join(dir, 'tmp');
  const quarantine = join(dir, 'quarantine');
  const blocks = join(dir, 'blocks');
  const folderAt = (index: number) => join(blocks, index.toString(16).padStart(2, '0'));
  for (const folder of [tmp, quarantine, blocks]) io.makeFolder(folder);
  // Its content, not the folder: on a full disk there may be no room to make it again.
  for (const name of await readdir(tmp))
    await rm(join(tmp, name), { recursive: true, force: true });
  for (let index = 0; index < FOLDERS; index += 1) io.makeFolder(folderAt(index));
  if (isDurable) for (const folder of [dir, blocks]) await io.syncFolder(folder);
  const pathOf = (digest: Digest) => join(blocks, digest.slice(0, 2), digest);
  return { tmp, quarantine, pathOf, folderAt };
}

/** Drafts, and how they get their names. */
function writing(
  { tmp, pathOf }: Folders,
  { isDurable, io }: { readonly isDurable: boolean; readonly io: FileIo },
): Pick<BlockFiles, 'draft' | 'discard' | 'publish'> {
  const discard = ({ fd, path }: Pick<Draft, 'fd' | 'path'>): void => {
    io.close(fd);
    io.removeNow(path);
  };
  /** Takes the name even from a folder, which a damaged file system may show in a file's place. */
  const rename = (from: string, to: string): void => {
    try {
      io.rename(from, to);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EISDIR') throw error;
      io.removeNow(to);
      io.rename(from, to);
    }
  };
  /** Syncs, closes and renames; a draft that fails leaves nothing. */
  const publishOne = async ({ digest, fd, path }: Draft): Promise<Error | undefined> => {
    try {
      try {
        if (isDurable) await io.sync(fd);
      } finally {
        io.close(fd);
      }
      rename(path, pathOf(digest));
      return undefined;
    } catch (error) {
      io.removeNow(path);
      return error as Error;
    }
  };
  const syncFolder = (folder: string): Promise<Error | undefined> =>
    io.syncFolder(folder).then(
      () => undefined,
      (error: Error) => error,
    );
  return {
    async draft(digest, bytes) {
      const path = join(tmp, randomUUID());
      const fd = io.create(path);
      try {
        await io.writeAll(fd, bytes);
        return { digest, path, fd };
      } catch (error) {
        discard({ fd, path });
        throw error;
      }
    },
    discard,
    async publish(drafts) {
      const errors = await Promise.all(drafts.map(publishOne));
      if (!isDurable) return errors;
      const syncs = new Map<string, Promise<Error | undefined>>();
      for (const folder of drafts.map(({ digest }) => dirname(pathOf(digest))))
        if (!syncs.has(folder)) syncs.set(folder, syncFolder(folder));
      return Promise.all(
        drafts.map(async ({ digest }, at) => errors[at] ?? syncs.get(dirname(pathOf(digest)))),
      );
    },
  };
}

function reading({ pathOf }: Folders): Pick<BlockFiles, 'sizeOf' | 'read' | 'readParts'> {
  /** Opens a block's file for `use`; `absent` when there is none. */
  const withFile = async <T>(
    digest: Digest,
    absent: T,
    use: (fd: number) => Promise<T>,
  ): Promise<T> => {
    let fd: number;
    try {
      fd = openSync(pathOf(digest), 'r');
    } catch (error) {
      return absentAs(absent)(error as NodeJS.ErrnoException);
    }
    try {
      return await use(fd);
    } finally {
      closeSync(fd);
    }
  };
  return {
    sizeOf: (digest) =>
      stat(pathOf(digest)).then(({ size }) => size, absentAs<number | undefined>(undefined)),
    read: (digest, buffer) => withFile(digest, 0, (fd) => readAll(fd, buffer)),
    readParts: (digest, sizeBytes, parts) =>
      withFile(digest, false, async (fd) => {
        if (fstatSync(fd).size !== sizeBytes) return false;
        for (const { offset, bytes } of parts)
          if ((await readAll(fd, bytes, offset)) < bytes.length) return false;
        return true;
      }),
  };
}

async function moveToQuarantine(
  { quarantine, pathOf }: Folders,
  digest: Digest,
  rest: Uint8Array | undefined,
): Promise<void> {
  const { length } = await readdir(quarantine);
  const target = join(quarantine, digest);
  if (length >= QUARANTINE_BLOCKS_MAX) return rm(pathOf(digest), { force: true, recursive: true });
  await rm(target, { force: true, recursive: true });
  if (rest !== undefined) return writeFile(target, rest);
  return move(pathOf(digest), target).catch(absentAs(undefined));
}

/** Reads from an offset in the file on; gives how much there was. */
async function readAll(fd: number, buffer: Uint8Array, from = 0): Promise<number> {
  let offset = 0;
  while (offset < buffer.length) {
    const { bytesRead } = await readAt(fd, buffer, offset, buffer.length - offset, from + offset);
    if (bytesRead === 0) break;
    offset += bytesRead;
  }
  return offset;
}

const absentAs =
  <T>(value: T) =>
  (error: NodeJS.ErrnoException): T => {
    if (error.code !== 'ENOENT') throw error;
    return value;
  };
