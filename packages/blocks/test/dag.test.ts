import { describe, expect, it } from '@jest/globals';
import { createNode, encode, prepare } from '@ipld/dag-pb';
import { CHUNK_SIZE_BYTES, type Cid, MiB } from '@shoal/protocol';
import fc from 'fast-check';
import { UnixFS } from 'ipfs-unixfs';
import { importer } from 'ipfs-unixfs-importer';
import { CID } from 'multiformats/cid';
import {
  chunk,
  createDagBuilder,
  type DagNode,
  hashBlock,
  listDag,
  readUnixfs,
  verify,
} from '../src/index.ts';

/** Bytes that differ in every MiB, made without holding them all: a 1 GiB file is tested too. */
async function* bytesOf(sizeBytes: number): AsyncGenerator<Uint8Array> {
  for (let offset = 0, turn = 0; offset < sizeBytes; offset += MiB, turn += 1)
    yield new Uint8Array(Math.min(MiB, sizeBytes - offset)).fill(turn % 251);
}

async function ours(source: AsyncIterable<Uint8Array>) {
  const builder = createDagBuilder();
  const nodes: DagNode[] = [];
  const buffer = new Uint8Array(CHUNK_SIZE_BYTES);
  for await (const { bytes } of chunk(source, { sizeBytes: MiB, takeBuffer: () => buffer }))
    nodes.push(...builder.addLeaf({ cid: hashBlock('raw', bytes), sizeBytes: bytes.length }));
  const done = builder.finish();
  return { ...done, nodes: [...nodes, ...done.nodes] };
}

/** The reference: what ipfs-unixfs-importer makes of the same bytes. */
async function reference(source: AsyncIterable<Uint8Array>): Promise<string> {
  const nowhere = {
    put: async (cid: unknown) => cid,
    has: async () => false,
  } as unknown as Parameters<typeof importer>[1]; // it only ever puts
  let root = '';
  for await (const { cid } of importer([{ content: source }], nowhere, {
    profile: 'unixfs-v1-2025',
  }))
    root = cid.toString();
  return root;
}

describe('the DAG of a file', () => {
  it('gives an empty file the CID that every IPFS tool gives it', async () => {
    const { root, blocks } = await ours(bytesOf(0));
    expect(root).toBe('bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku');
    expect(blocks).toBe(1);
  });

  it.each([0, 1, MiB - 1, MiB, MiB + 1, 10 * MiB + 3, 1024 * MiB, 1024 * MiB + 1])(
    'has the root of the reference importer for %d bytes',
    async (sizeBytes) => {
      const { root, sizeBytes: counted } = await ours(bytesOf(sizeBytes));
      expect(root).toBe(await reference(bytesOf(sizeBytes)));
      expect(counted).toBe(sizeBytes);
    },
    120_000,
  );

  it('lists what was built, in order, with sizes that add up', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: MiB }), { minLength: 1, maxLength: 40 }),
        async (sizes) => {
          const leaves = sizes.map((sizeBytes, index) => ({
            cid: hashBlock('raw', Buffer.from(`${index} ${sizeBytes}`)),
            sizeBytes,
          }));
          const builder = createDagBuilder();
          const store = new Map<Cid, Uint8Array>();
          const keep = (nodes: DagNode[]) =>
            nodes.forEach(({ cid, bytes }) => store.set(cid, bytes));
          leaves.forEach((leaf) => keep(builder.addLeaf(leaf)));
          const { root, nodes, blocks, sizeBytes } = builder.finish();
          keep(nodes);
          const entries = await listDag(root, sizeBytes, async (cid) => store.get(cid));
          expect(entries).toHaveLength(blocks);
          const listed = entries.filter(({ kind }) => kind === 'leaf');
          expect(listed.map(({ cid }) => cid)).toEqual(leaves.map(({ cid }) => cid));
          listed.reduce((offset, entry) => {
            expect(entry.offset).toBe(offset);
            return offset + entry.sizeBytes;
          }, 0);
        },
      ),
      { seed: 20261122, numRuns: 50 },
    );
  });

  it('has more than one level past 1024 chunks, and lists them all', async () => {
    const builder = createDagBuilder();
    const store = new Map<Cid, Uint8Array>();
    const leaf = { cid: hashBlock('raw', new Uint8Array(8)), sizeBytes: 8 };
    const all: DagNode[] = [];
    for (let i = 0; i < 2500; i += 1) all.push(...builder.addLeaf(leaf));
    expect(all).toHaveLength(2);
    const { root, nodes, blocks, sizeBytes } = builder.finish();
    [...all, ...nodes].forEach(({ cid, bytes }) => store.set(cid, bytes));
    expect(sizeBytes).toBe(2500 * 8);
    expect(blocks).toBe(2500 + 4);
    expect(await listDag(root, undefined, async (cid) => store.get(cid))).toHaveLength(blocks);
  });

  it('names the node that is absent', async () => {
    const { root } = await ours(bytesOf(3 * MiB));
    await expect(listDag(root, undefined, async () => undefined)).rejects.toMatchObject({
      type: 'problems/manifest-incomplete',
      fields: { root, cid: root },
    });
  });

  it('refuses a block that is not a node, and a manifest whose sizes lie', async () => {
    const bytes = Buffer.from('not protobuf at all');
    expect(() => readUnixfs(hashBlock('dag-pb', bytes), bytes)).toThrow(/not a node of a file/);

    const store = new Map<Cid, Uint8Array>();
    const leafSize = 5;
    const builder = createDagBuilder();
    const leaf = { cid: hashBlock('raw', new Uint8Array(leafSize)), sizeBytes: leafSize };
    const inner: DagNode[] = [];
    for (let i = 0; i < 1024; i += 1) inner.push(...builder.addLeaf(leaf));
    inner.forEach((node) => store.set(node.cid, node.bytes));
    // A parent that claims one byte more than its child has.
    const unixfs = new UnixFS({ type: 'file', blockSizes: [BigInt(1024 * leafSize + 1)] });
    const link = { Name: '', Hash: CID.parse(inner[0]!.cid), Tsize: 1_000_000 };
    const lying = encode(prepare(createNode(unixfs.marshal(), [link])));
    const root = hashBlock('dag-pb', lying);
    store.set(root, lying);
    await expect(listDag(root, undefined, async (cid) => store.get(cid))).rejects.toMatchObject({
      type: 'problems/manifest-invalid',
    });
  });
});

describe('verify', () => {
  it('tells the right bytes from any others', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1 }), fc.nat(), (bytes, at) => {
        const cid = hashBlock('raw', bytes);
        const other = bytes.slice();
        other[at % bytes.length] = (other[at % bytes.length] ?? 0) ^ 1;
        expect(verify(cid, bytes)).toBe(true);
        expect(verify(cid, other)).toBe(false);
        expect(verify(cid, bytes.subarray(1))).toBe(false);
      }),
      { seed: 20261122 },
    );
  });
});
