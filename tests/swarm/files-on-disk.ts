/** Files on the disks of a swarm: what repair makes, and what a reboot must not. */
import { createHash } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { MiB } from '@shoal/protocol';
import { health, type Peer, seededStream, type TestFile, upload } from '@shoal/testkit';

export const REPLICAS = 3;
export const REPAIR_TIMEOUT_MS = 60_000;
export const FILES = Array.from({ length: 6 }, (_, index): TestFile => ({
  name: `file-${index}.bin`,
  seed: `repair ${index}`,
  sizeBytes: (3 + index) * MiB,
}));

/** The chunks of all files, by the names of their files on disk. */
export async function allDigests(): Promise<string[]> {
  return (await Promise.all(FILES.map(digestsOf))).flat();
}

async function digestsOf({ seed, sizeBytes }: TestFile): Promise<string[]> {
  const digests: string[] = [];
  for await (const chunk of seededStream(seed, sizeBytes, MiB))
    digests.push(createHash('sha256').update(chunk).digest('hex'));
  return digests;
}

async function blocksOnDisk({ dataDir }: Peer): Promise<Set<string>> {
  const folder = join(dataDir, 'storage', 'blocks');
  const names = await readdir(folder, { recursive: true });
  return new Set(names.map((name) => name.split('/').at(-1) ?? name));
}

/** On how many of these disks each chunk of the files lies: the least and the most of it. */
export async function copiesOnDisk(peers: readonly Peer[], digests: readonly string[]) {
  const disks = await Promise.all(peers.map(blocksOnDisk));
  const copies = digests.map((digest) => disks.filter((disk) => disk.has(digest)).length);
  return { least: Math.min(...copies), most: Math.max(...copies) };
}

/** Fewest copies over the files, as a peer answers it. */
export async function fewestCopies(peer: Peer, cids: readonly string[]): Promise<number> {
  const all = await Promise.all(cids.map((cid) => health(peer.discovery, cid)));
  return Math.min(...all.map(({ copies }) => copies));
}

/** Uploads them at the peers in turn. */
export async function uploadAll(peers: readonly Peer[]): Promise<string[]> {
  const cids: string[] = [];
  for (const [index, file] of FILES.entries()) {
    const peer = peers[index % peers.length];
    if (peer === undefined) throw new Error('no peers');
    const { reply } = await upload(peer.chunker, file, {
      query: `replicas=${REPLICAS}&copies=${REPLICAS}`,
    });
    cids.push(reply.cid);
  }
  return cids;
}
