import { describe, expect, it } from '@jest/globals';
import { createNode, encode, type PBNode, prepare } from '@ipld/dag-pb';
import { type Cid, DirectoryInvalid } from '@shoal/protocol';
import { UnixFS } from 'ipfs-unixfs';
import { CID } from 'multiformats/cid';
import {
  buildDirectory,
  hashBlock,
  listEntries,
  type NamedLink,
  readCid,
  readTarget,
  resolvePath,
} from '../src/index.ts';

const leaf = hashBlock('raw', Buffer.from('x'));
const prefixOf = (slot: number) => slot.toString(16).toUpperCase().padStart(2, '0');

/** Shards, and how often one was read. */
function memory() {
  const blocks = new Map<Cid, Uint8Array>();
  const reads = { count: 0 };
  const put = (links: PBNode['Links']): Cid => {
    const unixfs = new UnixFS({ type: 'hamt-sharded-directory', fanout: 256n, hashType: 0x22n });
    const bytes = encode(prepare(createNode(unixfs.marshal(), links)));
    const cid = hashBlock('dag-pb', bytes);
    blocks.set(cid, bytes);
    return cid;
  };
  const getNode = async (cid: Cid) => {
    reads.count += 1;
    return blocks.get(cid);
  };
  const list = async (root: Cid): Promise<NamedLink[]> => {
    const node = await readTarget(readCid(root), getNode);
    return node === undefined ? [] : await Array.fromAsync(listEntries(node, getNode));
  };
  return { put, reads, getNode, list };
}

const link = (name: string, cid: Cid): PBNode['Links'][number] => ({
  Name: name,
  Hash: CID.parse(cid),
  Tsize: 1,
});
const inSlots = (count: number, cid: Cid) =>
  Array.from({ length: count }, (_, slot) => link(prefixOf(slot), cid));

describe('a listing of shards', () => {
  it('ends when a few of them lead on and on to no name', async () => {
    const { put, reads, list } = memory();
    let shard = put([]);
    for (let level = 0; level < 8; level += 1) shard = put(inSlots(8, shard));
    await expect(list(shard)).rejects.toThrow(/lead to no name/);
    expect(reads.count).toBeLessThan(20_000);
  });

  it('ends when they are deeper than a hash, and so does the way to a name', async () => {
    const { put, reads, getNode, list } = memory();
    let shard = put([link('00name', leaf)]);
    for (let level = 0; level < 30; level += 1) shard = put(inSlots(256, shard));
    await expect(list(shard)).rejects.toThrow(/deeper than a hash/);
    reads.count = 0;
    await expect(resolvePath(readCid(shard), ['name'], getNode)).rejects.toMatchObject({
      type: 'problems/path-not-found',
    });
    expect(reads.count).toBe(9); // the root, and one for each byte of the hash
  });

  it('may have as many as it has names', async () => {
    const { put, list } = memory();
    const last = put([link('00a', leaf), link('01b', leaf)]);
    const root = put(inSlots(130, put(inSlots(130, last))));
    expect(await list(root)).toHaveLength(2 * 130 * 130);
  });
});

describe('names that share their hash', () => {
  const sameNames = (count: number) =>
    Array.from({ length: count }, () => ({ name: 'n'.repeat(200), cid: leaf, treeSizeBytes: 1 }));

  it('are refused as what a caller can mend', async () => {
    const built = buildDirectory(sameNames(2000));
    await expect(built).rejects.toBeInstanceOf(DirectoryInvalid);
    await expect(built).rejects.toMatchObject({ fields: { path: 'n'.repeat(200) } });
  });

  it('are put into one slot without copying what is there', async () => {
    // Eight levels with one slot each: minutes, if each name copied those before it.
    await expect(buildDirectory(sameNames(20_000))).rejects.toThrow(/same hash/);
  });
});
