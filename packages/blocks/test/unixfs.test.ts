import { describe, expect, it } from '@jest/globals';
import { createNode, encode, prepare } from '@ipld/dag-pb';
import { type Cid, KiB } from '@shoal/protocol';
import fc from 'fast-check';
import { UnixFS } from 'ipfs-unixfs';
import { type ImportCandidate, importer } from 'ipfs-unixfs-importer';
import { CID } from 'multiformats/cid';
import {
  buildDirectory,
  createDagBuilder,
  DIRECTORY_NODE_MAX_BYTES,
  type DirectoryEntry,
  fileBytesOf,
  codecOf,
  hashBlock,
  listDag,
  listEntries,
  readCid,
  readTarget,
  resolvePath,
  walkDag,
} from '../src/index.ts';

type Profile = NonNullable<NonNullable<Parameters<typeof importer>[2]>['profile']>;

/** Blocks by their CID in our spelling, and the importer that fills them. */
function memory() {
  const blocks = new Map<Cid, Uint8Array>();
  const store = {
    put: async (cid: CID, bytes: Uint8Array) => {
      const read = readCid(cid.toString());
      if (read.kind === 'block') blocks.set(read.cid, Uint8Array.from(bytes));
      return cid;
    },
    has: async () => false,
    get: () => {
      throw new Error('never asked');
    },
  } as unknown as Parameters<typeof importer>[1];
  const add = async (
    sources: { path?: string; content: Uint8Array }[],
    options: Parameters<typeof importer>[2] = { profile: 'unixfs-v1-2025' as Profile },
  ): Promise<string> => {
    let root = '';
    for await (const { cid } of importer(sources as ImportCandidate[], store, options))
      root = cid.toString();
    return root;
  };
  return { blocks, add, getNode: async (cid: Cid) => blocks.get(cid) };
}

const blockOf = (text: string): Cid => {
  const read = readCid(text);
  if (read.kind !== 'block') throw new Error(`${text} is no block`);
  return read.cid;
};

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

describe('CIDs from outside', () => {
  const v1 = 'bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354';

  it('are one block in every spelling', () => {
    const cid = CID.parse(v1);
    const v0 = CID.createV0(cid.multihash as Parameters<typeof CID.createV0>[0]).toString();
    expect(blockOf(v0)).toBe(v1);
    expect(blockOf(v1.toUpperCase())).toBe(v1);
    expect(readCid(v0).asGiven).toBe(v0);
  });

  it('may hold their bytes themselves', () => {
    expect(readCid('bafkqaaa')).toMatchObject({ kind: 'identity', bytes: new Uint8Array() });
    const hello = readCid('bafkqabtimvwgy3yk');
    expect(hello.kind === 'identity' && Buffer.from(hello.bytes).toString()).toBe('hello\n');
  });

  it.each(['', 'b', 'QmNope', 'bafybei', `b${'a'.repeat(600)}`])('are refused as %j', (text) => {
    expect(() => readCid(text)).toThrow(/is neither a CID/);
  });

  it('are told apart when another tool could read them', () => {
    const cbor = CID.createV1(0x71, CID.parse(v1).multihash).toString();
    expect(() => readCid(cbor)).toThrow(/its codec is 0x71/);
    const blake = CID.decode(Uint8Array.of(1, 0x55, 0xa0, 0xe4, 0x02, 1, 7)).toString();
    expect(() => readCid(blake)).toThrow(/its hash function is 0xb220/);
  });
});

describe('directories', () => {
  it('are named as the reference importer names them', async () => {
    const { add, blocks } = memory();
    const contents = [1, 2, 3].map((n) => Buffer.from(`file ${n}`));
    const root = await add(
      contents.map((content, n) => ({ path: `dir/${['b', 'ä', 'A'][n]}`, content })),
    );
    const entries = contents.map((content, n): DirectoryEntry => ({
      name: ['b', 'ä', 'A'][n] as string,
      cid: hashBlock('raw', content),
      treeSizeBytes: content.length,
    }));
    const built = await buildDirectory(entries);
    expect(built.cid).toBe(root);
    expect(blocks.has(built.cid)).toBe(true);
    expect((await buildDirectory([])).cid).toBe(
      'bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354',
    );
  });

  it.each([4000, 4500, 12_000])('of %d entries have its root too', async (count) => {
    const { add, blocks, getNode } = memory();
    const names = Array.from({ length: count }, (_, n) => `entry number ${n}`);
    const content = Buffer.from('the same');
    const root = await add(names.map((name) => ({ path: `dir/${name}`, content })));
    const cid = hashBlock('raw', content);
    const built = await buildDirectory(
      names.map((name) => ({ name, cid, treeSizeBytes: content.length })),
    );
    expect(built.cid).toBe(root);
    built.nodes.forEach(({ cid: node, bytes }) => expect(blocks.get(node)).toEqual(bytes));

    const node = await readTarget(readCid(root), getNode);
    const listed = await collect(listEntries(node!, getNode));
    expect(new Set(listed.map(({ name }) => name))).toEqual(new Set(names));
    expect(listed).toHaveLength(count);
    for (const name of names.slice(0, 50)) {
      const { target, trail } = await resolvePath(readCid(root), [name], getNode);
      expect(target).toMatchObject({ cid });
      expect(trail[0]).toMatchObject({ kind: 'block', cid: root, asGiven: root });
    }
    await expect(resolvePath(readCid(root), ['nobody'], getNode)).rejects.toMatchObject({
      type: 'problems/path-not-found',
      fields: { segment: 'nobody' },
    });
  });

  it('become a HAMT past 256 KiB, not at it', async () => {
    const cid = hashBlock('raw', Buffer.from('x'));
    const entries = (nameSize: number, count: number): DirectoryEntry[] =>
      Array.from({ length: count }, (_, n) => ({
        name: String(n).padStart(nameSize, '0'),
        cid,
        treeSizeBytes: 1,
      }));
    const sizeOf = async (all: readonly DirectoryEntry[]) => {
      const { nodes } = await buildDirectory(all);
      return nodes.length === 1 ? nodes[0]!.bytes.length : Infinity;
    };
    const base = entries(100, 1700);
    const left = DIRECTORY_NODE_MAX_BYTES - (await sizeOf(base));
    const withLast = (size: number) => [...base, { name: 'z'.repeat(size), cid, treeSizeBytes: 1 }];
    const overhead = (await sizeOf(withLast(200))) - (await sizeOf(base)) - 200;
    // The last name fills the node to the byte, however many links that takes.
    const filler: DirectoryEntry[] = [...base];
    let room = left;
    for (let n = 0; room > 2 * (overhead + 200); n += 1, room -= overhead + 200)
      filler.push({ name: `${n}`.padStart(200, 'y'), cid, treeSizeBytes: 1 });
    const half = Math.floor(room / 2) - overhead;
    filler.push({ name: 'u'.repeat(half), cid, treeSizeBytes: 1 });
    const last = DIRECTORY_NODE_MAX_BYTES - (await sizeOf(filler)) - overhead;
    const exact = [...filler, { name: 'v'.repeat(last), cid, treeSizeBytes: 1 }];
    expect(await sizeOf(exact)).toBe(DIRECTORY_NODE_MAX_BYTES);
    const over = [...filler, { name: 'v'.repeat(last + 1), cid, treeSizeBytes: 1 }];
    expect(await sizeOf(over)).toBe(Infinity);
    expect(DIRECTORY_NODE_MAX_BYTES).toBe(256 * KiB);
  });
});

describe('any DAG', () => {
  const contents = (size: number) =>
    Uint8Array.from({ length: size }, (_, at) => (at * 7 + (at >> 8) + (at >> 16) * 31) & 255);

  it.each<[string, NonNullable<Parameters<typeof importer>[2]>]>([
    ['the profile of 2015', { profile: 'unixfs-v0-2015' as Profile }],
    ['the profile of 2025', { profile: 'unixfs-v1-2025' as Profile }],
  ])('of a file in %s reads back, whole and in any range', async (_, options) => {
    const { add, getNode, blocks } = memory();
    const file = contents(3 * 1024 * KiB + 5);
    const root = blockOf(await add([{ content: file }], { ...options }));
    const read = async (range?: { start: number; end: number }) => {
      const bytes = new Uint8Array(file.length);
      const entries = await collect(walkDag(root, getNode, { range }));
      for (const { cid, sizeBytes, offset } of entries) {
        const own = fileBytesOf(codecOf(cid), blocks.get(cid)!);
        expect(own).toHaveLength(sizeBytes);
        bytes.set(own, offset);
      }
      return { bytes, entries };
    };
    const whole = await read();
    expect(Buffer.from(whole.bytes).equals(file)).toBe(true);
    // One node: leaves are known by their parent, whether they are raw or wrapped.
    expect(whole.entries.filter(({ kind }) => kind === 'node')).toHaveLength(1);
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: file.length - 1 }),
        fc.integer({ min: 0, max: 400_000 }),
        async (start, length) => {
          const end = Math.min(file.length - 1, start + length);
          const { bytes, entries } = await read({ start, end });
          const asked = Buffer.from(bytes.subarray(start, end + 1));
          expect(asked.equals(file.subarray(start, end + 1))).toBe(true);
          expect(entries.length).toBeLessThanOrEqual(3 + (end - start) / (256 * KiB));
        },
      ),
      { seed: 20261122, numRuns: 30 },
    );
  });

  it('is not followed into what has no bytes, when a range is asked for', async () => {
    const blocks = new Map<Cid, Uint8Array>();
    const put = (links: readonly { cid: Cid; size: number }[]): Cid => {
      const blockSizes = links.map(({ size }) => BigInt(size));
      const children = links.map(({ cid }) => ({ Name: '', Hash: CID.parse(cid), Tsize: 100 }));
      const data = new UnixFS({ type: 'file', blockSizes }).marshal();
      const bytes = encode(prepare(createNode(data, children)));
      const cid = hashBlock('dag-pb', bytes);
      blocks.set(cid, bytes);
      return cid;
    };
    let empty = put([]);
    for (let level = 0; level < 2; level += 1)
      empty = put(Array.from({ length: 100 }, () => ({ cid: empty, size: 0 })));
    const leaf = hashBlock('raw', Buffer.from('x'));
    const root = put([
      { cid: leaf, size: 1 },
      { cid: empty, size: 0 },
      { cid: leaf, size: 1 },
    ]);
    const read: Cid[] = [];
    const getNode = async (cid: Cid) => {
      read.push(cid);
      return blocks.get(cid);
    };
    const entries = await collect(walkDag(root, getNode, { range: { start: 0, end: 1 } }));
    expect(entries.map(({ cid, offset }) => [cid, offset])).toEqual([
      [root, 0],
      [leaf, 0],
      [leaf, 1],
    ]);
    expect(read).toEqual([root]);
  });

  it('is walked without the entries of a directory when only it is meant', async () => {
    const { add, getNode } = memory();
    const root = blockOf(
      await add([
        { path: 'dir/a/b.txt', content: contents(10) },
        { path: 'dir/c.txt', content: contents(2 * 1024 * KiB) },
      ]),
    );
    const all = await listDag(root, undefined, getNode);
    expect(all).toHaveLength(1 + 2 + 3);
    const only = await collect(walkDag(root, getNode, { scope: 'entity' }));
    expect(only.map(({ cid }) => cid)).toEqual([root]);
  });

  it('is refused when it has no end', async () => {
    // Deeper than any file or folder: a chain of nodes with one link each.
    const blocks = new Map<Cid, Uint8Array>();
    let child = hashBlock('raw', Buffer.from('x'));
    for (let level = 0; level < 300; level += 1) {
      const link = { Name: '', Hash: CID.parse(child), Tsize: 1 };
      const bytes = encode(prepare(createNode(new Uint8Array(), [link])));
      child = hashBlock('dag-pb', bytes);
      blocks.set(child, bytes);
    }
    await expect(listDag(child, undefined, async (cid) => blocks.get(cid))).rejects.toMatchObject({
      type: 'problems/manifest-invalid',
    });
  });

  it('may stand in the links themselves', async () => {
    const parts = ['bafkqabtimvwgy3yk', 'bafkqabtimvwgy3yk'].map((cid) => CID.parse(cid));
    const unixfs = new UnixFS({ type: 'file', blockSizes: [6n, 6n] });
    const links = parts.map((Hash) => ({ Name: '', Hash, Tsize: 6 }));
    const bytes = encode(prepare(createNode(unixfs.marshal(), links)));
    const root = hashBlock('dag-pb', bytes);
    const getNode = async () => bytes;
    expect(await listDag(root, undefined, getNode)).toHaveLength(1);
    const entries = await collect(walkDag(root, getNode, { withInline: true }));
    expect(Buffer.concat(entries.map(({ inline = new Uint8Array() }) => inline)).toString()).toBe(
      'hello\nhello\n',
    );
    expect(entries.map(({ offset }) => offset)).toEqual([0, 0, 6]);
  });

  it('is refused when a link says another size than it holds', async () => {
    const unixfs = new UnixFS({ type: 'file', blockSizes: [7n] });
    const links = [{ Name: '', Hash: CID.parse('bafkqabtimvwgy3yk'), Tsize: 6 }];
    const bytes = encode(prepare(createNode(unixfs.marshal(), links)));
    const walk = walkDag(hashBlock('dag-pb', bytes), async () => bytes, { withInline: true });
    await expect(collect(walk)).rejects.toMatchObject({ type: 'problems/manifest-invalid' });
  });

  it('is walked without what is to be skipped, and tells how links spell it', async () => {
    const { add, getNode } = memory();
    const content = contents(600 * KiB);
    const files = ['a', 'b'].map((name) => ({ path: `dir/${name}`, content }));
    const root = blockOf(await add(files, { profile: 'unixfs-v0-2015' as Profile }));
    const all = await collect(walkDag(root, getNode));
    expect(all).toHaveLength(1 + 2 * (1 + 3)); // the same file twice
    expect(all.map(({ isV0 }) => isV0)).toEqual([undefined, ...all.slice(1).map(() => true)]);
    const seen = new Set<string>();
    const skip = (cid: string) => seen.size === seen.add(cid).size;
    const once = await collect(walkDag(root, getNode, { skip }));
    expect(once.map(({ cid }) => cid)).toEqual([...new Set(all.map(({ cid }) => cid))]);
  });

  it('states the size of a file’s tree as a link to it does', async () => {
    const builder = createDagBuilder();
    const leaf = hashBlock('raw', new Uint8Array(5));
    const nodes = [1, 2, 3].flatMap(() => builder.addLeaf({ cid: leaf, sizeBytes: 5 }));
    const done = builder.finish();
    const encoded = [...nodes, ...done.nodes].reduce((sum, { bytes }) => sum + bytes.length, 0);
    expect(done.treeSizeBytes).toBe(15 + encoded);
  });
});
