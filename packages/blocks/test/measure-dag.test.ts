import { describe, expect, it } from '@jest/globals';
import { createNode, encode, type PBNode, prepare } from '@ipld/dag-pb';
import { type Cid, ManifestIncomplete, ManifestInvalid } from '@shoal/protocol';
import { UnixFS } from 'ipfs-unixfs';
import { CID } from 'multiformats/cid';
import { create as createDigest } from 'multiformats/hashes/digest';
import {
  buildDirectory,
  buildSymlink,
  createDagBuilder,
  hashBlock,
  type LeafClaim,
  listDag,
  measureDag,
  readUnixfs,
} from '../src/index.ts';

const blocks = new Map<Cid, Uint8Array>();
const getNode = async (cid: Cid) => blocks.get(cid);

/** A directory whose entries all name the same thing. */
function manyOf(cid: Cid, count: number): Cid {
  const links = Array.from({ length: count }, (_, at) => ({
    Name: `n${at}`,
    Hash: CID.parse(cid),
    Tsize: 1,
  }));
  const data = new UnixFS({ type: 'directory' }).marshal();
  const bytes = encode(prepare(createNode(data, links)));
  const parent = hashBlock('dag-pb', bytes);
  blocks.set(parent, bytes);
  return parent;
}

/** Leaves as they are in `blocks`; those that are not there are as their parent says. */
const checkLeaves = async (leaves: readonly LeafClaim[]) =>
  leaves.map(({ cid, sizeBytes }) => sizeBytes ?? blocks.get(cid)?.length ?? 0);
const measure = (root: Cid, entriesMax = 1000, get = getNode) =>
  measureDag(root, { getNode: get, checkLeaves, entriesMax });

const put = (node: PBNode): Cid => {
  const bytes = encode(node);
  const cid = hashBlock('dag-pb', bytes);
  blocks.set(cid, bytes);
  return cid;
};
/** A node of a file over children of stated sizes. */
const fileNode = (children: readonly { cid: Cid; says: number; tree: number }[], data?: Buffer) =>
  put(
    prepare(
      createNode(
        new UnixFS({
          type: 'file',
          ...(data === undefined ? {} : { data }),
          blockSizes: children.map(({ says }) => BigInt(says)),
        }).marshal(),
        children.map(({ cid, tree }) => ({ Name: '', Hash: CID.parse(cid), Tsize: tree })),
      ),
    ),
  );

describe('measureDag', () => {
  it('counts what a walk lists, and the bytes of files', async () => {
    const builder = createDagBuilder();
    for (let at = 0; at < 1500; at += 1) {
      const cid = hashBlock('raw', Buffer.from(`${at % 3}`));
      for (const node of builder.addLeaf({ cid, sizeBytes: 1 })) blocks.set(node.cid, node.bytes);
    }
    const file = builder.finish();
    for (const node of file.nodes) blocks.set(node.cid, node.bytes);
    const symlink = buildSymlink(Buffer.from('a'));
    blocks.set(symlink.cid, symlink.bytes);
    const small = hashBlock('raw', Buffer.from('small'));
    blocks.set(small, Buffer.from('small'));
    const { cid: root, nodes } = await buildDirectory([
      { name: 'a', cid: file.root, treeSizeBytes: file.treeSizeBytes },
      { name: 'b', cid: file.root, treeSizeBytes: file.treeSizeBytes },
      { name: 'c', cid: symlink.cid, treeSizeBytes: symlink.bytes.length },
      { name: 'd', cid: small, treeSizeBytes: 999 }, // nobody depends on what a directory says
    ]);
    for (const node of nodes) blocks.set(node.cid, node.bytes);
    const entries = (await listDag(root, undefined, getNode)).length;
    expect(entries).toBe(1 + 2 * file.blocks + 2);
    const sizeBytes = 2 * 1500 + 5;
    expect(await measure(root, 10_000)).toMatchObject({ type: 'directory', entries, sizeBytes });
  });

  it('takes a raw root for a file of one block', async () => {
    const cid = hashBlock('raw', Buffer.from('alone'));
    blocks.set(cid, Buffer.from('alone'));
    expect(await measure(cid)).toEqual({ type: 'raw', entries: 1, sizeBytes: 5 });
  });

  it('reads each node of a bomb once, and refuses it', async () => {
    let bomb = hashBlock('raw', Buffer.from('x'));
    for (let level = 0; level < 40; level += 1) bomb = manyOf(bomb, 10);
    let reads = 0;
    const counting = async (cid: Cid) => {
      reads += 1;
      return getNode(cid);
    };
    await expect(measure(bomb, 1000, counting)).rejects.toThrow(/unfolds to more/);
    expect(reads).toBeLessThanOrEqual(40);
  });

  it('refuses a few nodes that occur in it too often, though leaves may', async () => {
    const empty = fileNode([]);
    const trees = (cid: Cid, count: number) =>
      fileNode(Array.from({ length: count }, () => ({ cid, says: 0, tree: 100 })));
    const many = trees(trees(empty, 300), 300);
    await expect(measure(many, 1024 * 1024)).rejects.toThrow(/3 nodes occur in it 90301 times/);
    expect(await measure(trees(trees(empty, 200), 200), 1024 * 1024)).toMatchObject({
      entries: 40_201,
    });
    const leaf = hashBlock('raw', Buffer.from('leaf'));
    blocks.set(leaf, Buffer.from('leaf'));
    expect(await measure(manyOf(manyOf(leaf, 400), 400), 1024 * 1024)).toMatchObject({
      entries: 160_401,
    });
  });

  it('refuses a few large nodes that are read too often', async () => {
    const none = hashBlock('raw', Buffer.alloc(0));
    blocks.set(none, Buffer.alloc(0));
    const empty = { cid: none, says: 0, tree: 0 };
    const large = fileNode(Array.from({ length: 2000 }, () => empty)); // some 100 KB
    const often = (cid: Cid, count: number) =>
      fileNode(Array.from({ length: count }, () => ({ cid, says: 0, tree: 900_000 })));
    await expect(measure(often(large, 900), 16 * 1024 * 1024)).rejects.toThrow(
      /bytes of nodes unfold to/,
    );
    expect(await measure(often(large, 20), 1024 * 1024)).toMatchObject({ entries: 40_021 });
  });

  it('refuses a few blocks that are listed too often, though an image may be mostly zeros', async () => {
    const zeros = hashBlock('raw', Buffer.from('zeros'));
    blocks.set(zeros, Buffer.from('zeros'));
    await expect(measure(manyOf(manyOf(zeros, 600), 500), 1024 * 1024)).rejects.toThrow(
      /3 blocks occur in it 300501 times/,
    );
    const data = Array.from({ length: 6000 }, (_, at) => {
      const cid = hashBlock('raw', Buffer.from(`data ${at}`));
      blocks.set(cid, Buffer.from(`data ${at}`));
      return cid;
    });
    const builder = createDagBuilder();
    for (let at = 0; at < 300_000; at += 1) {
      const cid = (at % 50 === 0 ? data[at / 50] : undefined) ?? zeros;
      const sizeBytes = blocks.get(cid)?.length ?? 0;
      for (const node of builder.addLeaf({ cid, sizeBytes })) blocks.set(node.cid, node.bytes);
    }
    const { root, nodes, blocks: entries } = builder.finish();
    for (const node of nodes) blocks.set(node.cid, node.bytes);
    expect(await measure(root, 1024 * 1024)).toMatchObject({ entries });
  });

  it('takes ten copies of a folder with many small files', async () => {
    const files = Array.from({ length: 9000 }, (_, at) => ({
      name: `${at}`,
      cid: fileNode([], Buffer.from(`file ${at}`)),
      treeSizeBytes: 20,
    }));
    const folder = await buildDirectory(files);
    for (const node of folder.nodes) blocks.set(node.cid, node.bytes);
    const { entries } = await measure(folder.cid, 1024 * 1024);
    expect(await measure(manyOf(folder.cid, 10), 1024 * 1024)).toMatchObject({
      entries: 1 + 10 * entries,
    });
  });

  it('refuses a DAG that is deeper than a walk goes', async () => {
    let deep = hashBlock('raw', Buffer.from('x'));
    for (let level = 0; level < 300; level += 1) deep = manyOf(deep, 1);
    await expect(measure(deep)).rejects.toThrow(ManifestInvalid);
  });

  it('refuses what a walk would, by a node that it measured higher up', async () => {
    let low = hashBlock('raw', Buffer.from('x'));
    for (let level = 0; level < 200; level += 1) low = manyOf(low, 1);
    let high = low;
    for (let level = 0; level < 100; level += 1) high = manyOf(high, 1);
    const both = put(
      prepare(
        createNode(new UnixFS({ type: 'directory' }).marshal(), [
          { Name: 'a', Hash: CID.parse(low), Tsize: 1 },
          { Name: 'b', Hash: CID.parse(high), Tsize: 1 },
        ]),
      ),
    );
    await expect(measure(both)).rejects.toThrow(/deeper/);
  });

  it('says which node is absent', async () => {
    const absent = hashBlock('dag-pb', Buffer.from('absent'));
    const root = manyOf(absent, 2);
    await expect(measure(root)).rejects.toThrow(ManifestIncomplete);
    await expect(measure(root)).rejects.toThrow(absent);
  });

  it('tells what a file says of its leaves, and nothing of what a directory says', async () => {
    const leaf = hashBlock('raw', Buffer.from('leaf'));
    const claims: LeafClaim[] = [];
    const spy = async (leaves: readonly LeafClaim[]) => {
      claims.push(...leaves);
      return leaves.map(() => 4);
    };
    const file = fileNode([{ cid: leaf, says: 4, tree: 4 }]);
    await measureDag(file, { getNode, checkLeaves: spy, entriesMax: 10 });
    await measureDag(manyOf(leaf, 1), { getNode, checkLeaves: spy, entriesMax: 10 });
    expect(claims.map(({ sizeBytes }) => sizeBytes)).toEqual([4, undefined]);
  });

  it('refuses a child whose size is not what its parent says, and one that is no file', async () => {
    const leaf = hashBlock('raw', Buffer.from('leaf'));
    const child = fileNode([{ cid: leaf, says: 4, tree: 4 }]);
    const right = fileNode([{ cid: child, says: 4, tree: 100 }]);
    expect(await measure(right)).toMatchObject({ type: 'file', entries: 3, sizeBytes: 4 });
    const wrong = fileNode([{ cid: child, says: 5, tree: 100 }]);
    await expect(measure(wrong)).rejects.toThrow(/its parent says that it is 5 bytes/);
    const folder = fileNode([{ cid: manyOf(leaf, 1), says: 4, tree: 100 }]);
    await expect(measure(folder)).rejects.toThrow(ManifestInvalid);
  });

  it('counts bytes that stand in a node or a link, and refuses those that are miscounted', async () => {
    const identity = CID.createV1(0x55, createDigest(0x00, Buffer.from('inline')));
    const over = (says: number) =>
      put(
        prepare(
          createNode(
            new UnixFS({
              type: 'file',
              data: Buffer.from('own'),
              blockSizes: [BigInt(says)],
            }).marshal(),
            [{ Name: '', Hash: identity, Tsize: 6 }],
          ),
        ),
      );
    expect(await measure(over(6))).toMatchObject({ entries: 1, sizeBytes: 9 });
    await expect(measure(over(7))).rejects.toThrow(/holds 6 itself/);
  });
});

it('buildSymlink gives the node that the profile says', () => {
  const { cid, bytes } = buildSymlink(Buffer.from('../target'));
  const node = readUnixfs(cid, bytes);
  expect(node.type).toBe('symlink');
  expect(Buffer.from(node.data).toString()).toBe('../target');
});
