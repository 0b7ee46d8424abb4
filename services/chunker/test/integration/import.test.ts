import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  buildDirectory,
  cidOf,
  createDagBuilder,
  digestOf,
  hashBlock,
  readLink,
} from '@shoal/blocks';
import { Cid, ImportReply, MiB, ProblemBody } from '@shoal/protocol';
import { CID } from 'multiformats/cid';
import { create as createDigest } from 'multiformats/hashes/digest';
import { bytesOf, carOf, type Foreign, makeDag } from './dags.ts';
import { openStand, sample, type Stand, until } from './stand.ts';

const CAR = 'application/vnd.ipld.car; version=1';
const RAW = 'application/vnd.ipld.raw';
const FIXTURES = new URL('../../../../tests/fixtures/gateway/', import.meta.url);

const cidIn = (cid: CID): Cid => {
  const read = readLink(cid);
  if (read.kind !== 'block') throw new Error('no block');
  return read.cid;
};

describe('an import', () => {
  let stand: Stand;
  beforeAll(async () => {
    stand = await openStand({ CHUNKER_DAG_BLOCKS_MAX: '20000' });
  });
  afterAll(async () => {
    await stand[Symbol.asyncDispose]();
  });
  const post = (body: Uint8Array<ArrayBuffer>, query = '', type = CAR) =>
    fetch(`${stand.chunker.origin}/ipfs${query}`, {
      method: 'POST',
      body,
      headers: { 'content-type': type },
    });
  const add = async (body: Uint8Array<ArrayBuffer>, query = '', type = CAR) => {
    const answer = await post(body, query, type);
    const json: unknown = await answer.json();
    expect([answer.status, json]).toEqual([201, expect.anything()]);
    return ImportReply.parse(json);
  };
  const problem = async (answer: Response) => {
    const { status, type, detail } = ProblemBody.parse(await answer.json());
    return `${status} ${type}: ${detail}`;
  };
  const nothingMoreThan = (blocks: number) =>
    until('nothing is left', async () => (await stand.stats()).blocks === blocks);

  /** Files in layouts that are not ours. */
  const LAYOUTS = {
    'dag-pb leaves of 256 bytes': { rawLeaves: false, chunkSize: 256 },
    'the old profile': { profile: 'unixfs-v0-2015' },
    'raw leaves in a trickle': { rawLeaves: true, chunkSize: 1000, layout: 'trickle' },
    'dag-pb leaves in a trickle': { rawLeaves: false, chunkSize: 1000, layout: 'trickle' },
  };

  it.each(Object.entries(LAYOUTS))('keeps a file with %s', async (_, layout) => {
    const bytes = sample(100_000);
    const {
      chunkSize,
      layout: shape,
      ...options
    } = { chunkSize: undefined, ...layout } as {
      chunkSize?: number;
      layout?: string;
    };
    const { fixedSize } = await import('ipfs-unixfs-importer/chunker');
    const { trickle } = await import('ipfs-unixfs-importer/layout');
    const dag = await makeDag([{ content: new Uint8Array(bytes) }], {
      ...options,
      ...(chunkSize === undefined ? {} : { chunker: fixedSize({ chunkSize }) }),
      ...(shape === undefined ? {} : { layout: trickle() }),
    });
    const reply = await add(carOf([dag.root], dag.blocks), '?name=foreign.bin');
    expect(reply.unpinned).toEqual([]);
    expect(reply.pinned).toMatchObject([
      {
        cid: cidIn(dag.root),
        kind: 'file',
        name: 'foreign.bin',
        sizeBytes: bytes.length,
        sha256: createHash('sha256').update(bytes).digest('hex'),
      },
    ]);
    expect(stand.pins.get(cidIn(dag.root))?.blocks).toBeGreaterThanOrEqual(dag.blocks.length);
    for (const { cid } of dag.blocks) expect(await stand.hasBlock(cidIn(cid))).toBe(true);
  });

  it('keeps a directory, and counts what stands in it twice', async () => {
    const content = new Uint8Array(sample(MiB + 1));
    const dag = await makeDag([
      { path: 'd/a', content },
      { path: 'd/b/c', content },
    ]);
    const reply = await add(carOf([dag.root], dag.blocks));
    expect(reply).toMatchObject({ blocks: dag.blocks.length, unpinned: [] });
    expect(reply.pinned).toMatchObject([
      { kind: 'directory', name: dag.root.toString(), sizeBytes: 2 * content.length, blocks: 8 },
    ]);
    expect(reply.pinned[0]?.sha256).toBeUndefined();
  });

  it('keeps several roots of one CAR, and a CAR without roots keeps blocks alone', async () => {
    const [a, b] = [
      await makeDag([{ content: sample(10) }]),
      await makeDag([{ content: sample(11) }]),
    ];
    const both = await add(carOf([a.root, b.root, a.root], [...a.blocks, ...b.blocks]), '?name=x');
    expect(both.pinned.map(({ name }) => name)).toEqual([a.root.toString(), b.root.toString()]);
    const none = await makeDag([{ content: sample(12) }]);
    expect(await add(carOf([], none.blocks))).toMatchObject({
      blocks: 1,
      pinned: [],
      unpinned: [],
    });
    expect(await stand.hasBlock(cidIn(none.root))).toBe(true);
  });

  it('of a root with a block missing leaves it unpinned, says which, and takes the rest later', async () => {
    const dag = await makeDag([{ content: new Uint8Array(sample(3 * MiB).subarray(MiB / 2)) }]);
    const [first, ...rest] = dag.blocks;
    if (first === undefined) throw new Error('no blocks');
    const incomplete = await add(carOf([dag.root], rest));
    expect(incomplete.pinned).toEqual([]);
    expect(incomplete.unpinned).toEqual([
      { cid: dag.root.toString(), reason: expect.stringContaining(cidIn(first.cid)) },
    ]);
    expect(stand.pins.has(cidIn(dag.root))).toBe(false);
    expect(await stand.hasBlock(cidIn(dag.root))).toBe(true);
    const whole = await add(carOf([dag.root], [first]));
    expect(whole.pinned).toMatchObject([{ cid: dag.root.toString() }]);
  });

  it('finds a missing block in the swarm', async () => {
    const dag = await makeDag([{ content: new Uint8Array(sample(2 * MiB).subarray(77)) }]);
    const [first, ...rest] = dag.blocks;
    if (first === undefined) throw new Error('no blocks');
    stand.swarmBlocks.set(cidIn(first.cid), first.bytes);
    expect((await add(carOf([dag.root], rest))).pinned).toHaveLength(1);
    expect(await stand.hasBlock(cidIn(first.cid))).toBe(true);
  });

  it('with ?pin=false keeps nothing for good, and passes over what can not be held', async () => {
    const dag = await makeDag([{ content: sample(33) }]);
    const cbor = CID.createV1(0x71, createDigest(0x12, digestOf(cidIn(dag.root))));
    const odd = { cid: cbor, bytes: bytesOf(dag, 0).bytes };
    const reply = await add(carOf([dag.root], [...dag.blocks, odd]), '?pin=false');
    expect(reply).toMatchObject({ blocks: 1, pinned: [] });
    expect(reply.unpinned).toEqual([
      { cid: cbor.toString(), reason: expect.stringContaining('0x71') },
      { cid: dag.root.toString(), reason: 'not asked for' },
    ]);
    expect(await problem(await post(carOf([dag.root], [...dag.blocks, odd])))).toMatch(
      /^400 problems\/cid-unsupported/,
    );
  });

  it('passes over identity blocks, and leaves an identity root unpinned', async () => {
    const identity = CID.createV1(0x55, createDigest(0x00, Buffer.from('inline')));
    const reply = await add(carOf([identity], [{ cid: identity, bytes: Buffer.from('inline') }]));
    expect(reply).toMatchObject({ blocks: 0, pinned: [] });
    expect(reply.unpinned[0]?.reason).toMatch(/nothing to keep/);
  });

  it('takes one block, by either codec, and refuses bytes that are not it', async () => {
    const raw = new Uint8Array(Buffer.from('one block'));
    const { pinned } = await add(raw, '?name=one', RAW);
    expect(pinned).toMatchObject([{ cid: hashBlock('raw', raw), kind: 'file', name: 'one' }]);
    const node = bytesOf(await makeDag([{ path: 'd/x', content: raw }]), -1);
    const stated = `?cid=${node.cid.toString()}`;
    const block = await add(new Uint8Array(node.bytes), stated, RAW);
    expect(block.pinned).toMatchObject([{ cid: cidIn(node.cid), kind: 'directory' }]);
    expect(await problem(await post(raw, stated, RAW))).toMatch(/^422 problems\/block-corrupt/);
    const large = new Uint8Array(2 * MiB + 1);
    expect(await problem(await post(large, '', RAW))).toMatch(/^413/);
    expect(await problem(await post(raw, '?cid=zzz', RAW))).toMatch(/^400 problems\/hash-invalid/);
    expect(await problem(await post(raw, '', 'text/plain'))).toMatch(/^415/);
    expect(await problem(await post(raw, '?name=a/b', RAW))).toMatch(/file-name-invalid/);
    const misread = await add(raw, '?codec=dag-pb', RAW);
    expect(misread.unpinned[0]?.reason).toMatch(/is not a node/);
  });

  it('that is cut off anywhere keeps nothing', async () => {
    const dag = await makeDag([{ content: new Uint8Array(sample(5 * MiB).subarray(123)) }]);
    const car = carOf([dag.root], dag.blocks);
    const { blocks } = await stand.stats();
    for (const sizeBytes of [0, 10, 1000, car.length - 1])
      expect(await problem(await post(car.slice(0, sizeBytes)))).toMatch(
        /^400 problems\/car-invalid/,
      );
    await nothingMoreThan(blocks);
    expect(stand.pins.has(cidIn(dag.root))).toBe(false);
  });

  it('with a block that does not hash to its name keeps nothing', async () => {
    const dag = await makeDag([{ content: new Uint8Array(sample(3 * MiB).subarray(321)) }]);
    const { blocks } = await stand.stats();
    const bad = dag.blocks.map(({ cid, bytes }, at) =>
      at === 1 ? { cid, bytes: Uint8Array.from(bytes).reverse() } : { cid, bytes },
    );
    expect(await problem(await post(carOf([dag.root], bad)))).toMatch(
      /^422 problems\/block-corrupt/,
    );
    await nothingMoreThan(blocks);
  });

  it('leaves unpinned what contradicts itself, and what unfolds without end', async () => {
    const leaf = new Uint8Array(Buffer.from('four'));
    const liar = lyingFile(hashBlock('raw', leaf), 5);
    const leafBlock = { cid: CID.parse(hashBlock('raw', leaf)), bytes: leaf };
    const lied = await add(carOf([liar.cid], [leafBlock, liar]));
    expect(lied.unpinned[0]?.reason).toMatch(/says that it holds 5 bytes, it holds 4/);

    const bomb = await makeBomb(cidOf('raw', digestOf(hashBlock('raw', leaf))), 12);
    const bombed = await add(carOf([bomb.root], [leafBlock, ...bomb.blocks]));
    expect(bombed.unpinned[0]?.reason).toMatch(/unfolds to more than 20000 blocks/);
  });

  it('does no more than the bytes that came are worth, however long the file that they unfold to', async () => {
    const bytes = sample(MiB);
    const cid = hashBlock('raw', bytes);
    const builder = createDagBuilder();
    const nodes = Array.from({ length: 10_000 }, () =>
      builder.addLeaf({ cid, sizeBytes: MiB }),
    ).flat();
    const { root, nodes: rest } = builder.finish();
    const blocks = [...nodes, ...rest].map((node) => ({ ...node, cid: CID.parse(node.cid) }));
    const car = carOf([CID.parse(root)], [{ cid: CID.parse(cid), bytes }, ...blocks]);
    const { pinned } = await add(car, '?name=unfolds');
    // 10 GiB that came as one: no member hashes that for a request.
    expect(pinned).toMatchObject([{ cid: root, sizeBytes: 10_000 * MiB }]);
    expect(pinned[0]?.sha256).toBeUndefined();
    expect(stand.pins.get(root)?.blocks).toBe(10_000 + 11);
  });

  it('takes the CARs of the gateway specification', async () => {
    const names = readdirSync(FIXTURES).filter((name) => name.endsWith('.car'));
    expect(names.length).toBeGreaterThan(10);
    const unpinned: string[] = [];
    for (const name of names) {
      const bytes = new Uint8Array(readFileSync(new URL(name, FIXTURES)));
      const answer = await post(bytes, '?pin=true');
      const json: unknown = await answer.json();
      const reply = answer.ok ? ImportReply.parse(json) : undefined;
      if (reply === undefined || reply.unpinned.length > 0)
        unpinned.push(`${name}: ${reply?.unpinned[0]?.reason ?? ProblemBody.parse(json).type}`);
    }
    expect(unpinned).toEqual([
      expect.stringMatching(/dag-cbor.*cid-unsupported/),
      expect.stringMatching(/missing-block.* is not in the swarm/),
    ]);
  });
});

/** A file whose root says more of its leaves than is true. */
function lyingFile(leaf: Cid, says: number) {
  const dag = createDagBuilder();
  for (const cid of [leaf, leaf]) dag.addLeaf({ cid, sizeBytes: says });
  const [node] = dag.finish().nodes;
  if (node === undefined) throw new Error('two leaves have a node');
  return { cid: CID.parse(node.cid), bytes: node.bytes };
}

/** Folders in folders, each of which names the one below ten times. */
async function makeBomb(leaf: Cid, levels: number): Promise<Foreign> {
  const blocks: { cid: CID; bytes: Uint8Array }[] = [];
  let below = leaf;
  for (let level = 0; level < levels; level += 1) {
    const entries = Array.from({ length: 10 }, (_, at) => ({
      name: `${at}`,
      cid: below,
      treeSizeBytes: 4,
    }));
    const { cid, nodes } = await buildDirectory(entries);
    for (const node of nodes) blocks.push({ cid: CID.parse(node.cid), bytes: node.bytes });
    below = cid;
  }
  return { root: CID.parse(below), blocks };
}
