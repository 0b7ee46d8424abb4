/**
 * Digests of files' pieces, cached in a folder: they cost a read of the whole file and never change.
 * Each is a file of its own with a sha-256 behind it, so that half a write, or rot, counts as absent:
 * a wrong digest would be a torrent that nobody can finish. The least recently used goes first, and is
 * worked out again when it is asked for.
 */
import { createHash, randomUUID } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { type Log, RecentMap } from '@shoal/chassis';
import { MiB } from '@shoal/protocol';

/** Room for the sha-1s of some 3 TiB of files. */
const STORE_SIZE_MAX_BYTES = 64 * MiB;
/** What a small file takes on a disk, and with that the bound on their number. */
const FILE_ROOM_MIN_BYTES = 4096;
const CHECK_SIZE_BYTES = 32;

/** Names of digests: a CID and an algorithm, so that they are safe as names of files. */
export type PieceKey = string;

export interface PieceStore {
  /** What is kept under this name, if it is whole and of this size. */
  read(key: PieceKey, sizeBytes: number): Promise<Uint8Array | undefined>;
  /** Keeps digests; a failure is logged, and costs the next reader some work. */
  write(key: PieceKey, digests: Uint8Array): Promise<void>;
}

/**
 * Opens the folder, makes it if need be, and clears what a crash left half written. A folder that can't be
 * used is logged, and caches nothing.
 */
export async function openPieceStore(
  folder: string,
  {
    log,
    sizeMaxBytes = STORE_SIZE_MAX_BYTES,
  }: { readonly log: Log; readonly sizeMaxBytes?: number },
): Promise<PieceStore> {
  const evicted: PieceKey[] = [];
  const sizes = new RecentMap<PieceKey, number>({
    max: sizeMaxBytes,
    weightOf: (sizeBytes) => Math.max(sizeBytes, FILE_ROOM_MIN_BYTES),
    onEvict: (key) => evicted.push(key),
  });
  for (const { key, sizeBytes } of await openFolder(folder, log)) sizes.set(key, sizeBytes);

  const removeEvicted = async (): Promise<void> => {
    for (const key of evicted.splice(0)) if (!sizes.has(key)) await remove(join(folder, key), log); // or it was written again meanwhile
  };
  await removeEvicted();

  return {
    async read(key, sizeBytes) {
      if (!sizes.has(key)) return undefined;
      const path = join(folder, key);
      try {
        const bytes = await readFile(path);
        const digests = bytes.subarray(0, -CHECK_SIZE_BYTES);
        const check = bytes.subarray(-CHECK_SIZE_BYTES);
        if (digests.length === sizeBytes && checkOf(key, digests).equals(check)) {
          sizes.get(key); // the most recently used now
          // Only the order of the next run.
          await utimes(path, new Date(), new Date()).catch((err: unknown) =>
            log.debug({ err, key }, 'use of digests not noted'),
          );
          return digests;
        }
        log.warn({ key }, 'kept digests are damaged');
      } catch (err) {
        log.warn({ err, key }, 'kept digests not read');
      }
      sizes.delete(key);
      await remove(path, log);
      return undefined;
    },
    async write(key, digests) {
      const draft = join(folder, `${randomUUID()}.tmp`);
      try {
        await writeSynced(draft, [digests, checkOf(key, digests)]);
        await rename(draft, join(folder, key));
        sizes.set(key, digests.length + CHECK_SIZE_BYTES);
        await removeEvicted();
      } catch (err) {
        log.warn({ err, key }, 'digests not kept');
        await remove(draft, log);
      }
    },
  };
}

async function remove(path: string, log: Log): Promise<void> {
  await rm(path, { force: true }).catch((err: unknown) => log.warn({ err }, 'digests not removed'));
}

async function openFolder(folder: string, log: Log): Promise<StoredFile[]> {
  try {
    await mkdir(folder, { recursive: true });
    return await listFolder(folder);
  } catch (err) {
    log.warn({ err, folder }, 'kept digests not listed');
    return [];
  }
}

interface StoredFile {
  readonly key: PieceKey;
  readonly sizeBytes: number;
  readonly usedAtMs: number;
}

/** The files in the folder, the longest unused first. */
async function listFolder(folder: string): Promise<StoredFile[]> {
  const found: StoredFile[] = [];
  for (const key of await readdir(folder)) {
    const path = join(folder, key);
    if (key.endsWith('.tmp')) {
      await rm(path, { force: true });
      continue;
    }
    const { size, mtimeMs } = await stat(path);
    found.push({ key, sizeBytes: size, usedAtMs: mtimeMs });
  }
  return found.toSorted((a, b) => a.usedAtMs - b.usedAtMs);
}

async function writeSynced(path: string, parts: readonly Uint8Array[]): Promise<void> {
  const file = await open(path, 'wx');
  try {
    await file.writeFile(Buffer.concat(parts)); // all of it: a disk that is about full takes less
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Also of the name: a file that was renamed by hand is not another file's digests. */
const checkOf = (key: PieceKey, digests: Uint8Array): Buffer =>
  createHash('sha256').update(key).update(digests).digest();
