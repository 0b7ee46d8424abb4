/**
 * What lies on the disks, read past every service: the truth that the swarm's own words are held
 * against. Only whole chunks are looked for, since small blocks have no file of their own.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { KiB, MiB } from '@shoal/protocol';
import { isRunning, type RunningPeer, seededStream, type TestFile } from '@shoal/testkit';
import { isUp } from './stage.ts';

/** Larger blocks have a file of their own. */
const SMALL_BLOCK_MAX_BYTES = 64 * KiB;

/** Digests, in hex, of those chunks of a file that have a file of their own on a disk. */
export async function chunkDigestsOf({ seed, sizeBytes }: TestFile): Promise<string[]> {
  const digests: string[] = [];
  for await (const chunk of seededStream(seed, sizeBytes, MiB))
    if (chunk.length > SMALL_BLOCK_MAX_BYTES)
      digests.push(createHash('sha256').update(chunk).digest('hex'));
  return digests;
}

export function blockPath({ dataDir }: RunningPeer, digest: string): string {
  return join(dataDir, 'storage', 'blocks', digest.slice(0, 2), digest);
}

/** Digests of the blocks that have a file at this peer. */
export async function listBlocks({ dataDir }: RunningPeer): Promise<Set<string>> {
  const blocks = join(dataDir, 'storage', 'blocks');
  const folders = await readdir(blocks).catch(() => []); // a wiped peer has none
  const names = await Promise.all(
    folders.map((folder) => readdir(join(blocks, folder)).catch(() => [])),
  );
  return new Set(names.flat());
}

/** The blocks on the disks of living peers, by peer, at one moment. */
export type DiskImage = ReadonlyMap<RunningPeer, ReadonlySet<string>>;

export async function imageDisks(peers: readonly RunningPeer[]): Promise<DiskImage> {
  const alive = peers.filter((peer) => isUp(peer) && isStorageRunning(peer));
  const held = await Promise.all(
    alive.map(async (peer) => [peer, await listBlocks(peer)] as const),
  );
  return new Map(held);
}

/**
 * How many peers have that chunk of a file that the fewest have. Of several images a peer has what any
 * of them shows, so between two images it is the most that can have been true on the way.
 */
export function fewestCopies(digests: readonly string[], ...images: DiskImage[]): number {
  const peers = [...new Set(images.flatMap((image) => [...image.keys()]))];
  const copiesOf = (digest: string): number =>
    peers.filter((peer) => images.some((image) => image.get(peer)?.has(digest) === true)).length;
  return Math.min(...digests.map(copiesOf));
}

/** Whether a block's file holds the bytes that it is named after. */
export async function isSound(peer: RunningPeer, digest: string): Promise<boolean> {
  const hash = createHash('sha256');
  try {
    for await (const piece of createReadStream(blockPath(peer, digest)) as AsyncIterable<Buffer>)
      hash.update(piece);
  } catch {
    return false; // no file, or none that can be read
  }
  return hash.digest('hex') === digest;
}

function isStorageRunning(peer: RunningPeer): boolean {
  const { storage } = peer.processIds();
  return storage !== undefined && isRunning(storage);
}
