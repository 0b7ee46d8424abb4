import { describe, expect, it } from '@jest/globals';
import { createDagBuilder, hashBlock } from '@shoal/blocks';
import { BlockAbsent, type Cid, NotCached } from '@shoal/protocol';
import fc from 'fast-check';
import type { BlockReader } from '../../src/fetch/any-blocks.ts';
import type { ByteRange } from '../../src/file/pieces.ts';
import { openLooseFile, seekAhead } from '../../src/file/loose-file.ts';
import { createLinkRoom } from '../../src/fetch/read-budget.ts';

const signal = new AbortController().signal;
const flow = { windowBlocks: () => 4, noteTook: () => undefined };

/** Blocks by name, and a reader of them that counts what it did. */
function memory({ isLocalOnly = false }: { isLocalOnly?: boolean } = {}) {
  const blocks = new Map<Cid, Uint8Array>();
  const read: Cid[] = [];
  let held = 0;
  const get = async (cid: Cid) => {
    read.push(cid);
    const bytes = blocks.get(cid);
    if (bytes === undefined) throw new BlockAbsent({ cid, peersAsked: 3 });
    held += 1;
    let isHeld = true;
    const release = () => {
      if (isHeld) held -= 1;
      isHeld = false;
    };
    return { bytes: Buffer.from(bytes), release };
  };
  const getNode = async (cid: Cid) => {
    const { bytes, release } = await get(cid);
    release();
    return bytes;
  };
  const reader: BlockReader = {
    getNode,
    getNodeHere: getNode,
    recall: () => undefined,
    isHere: async (cid) => blocks.has(cid),
    isLocalOnly,
    locate: async () => [],
    fetch: get,
    spend: () => undefined,
    holdLinks: () => createLinkRoom().open(),
  };
  const add = (codec: 'raw' | 'dag-pb', bytes: Uint8Array): Cid => {
    const cid = hashBlock(codec, bytes);
    blocks.set(cid, bytes);
    return cid;
  };
  /** A file of leaves with these sizes; no two leaves are the same. */
  const addFile = (sizes: readonly number[]) => {
    const builder = createDagBuilder();
    const pieces = sizes.map((size, index) => Buffer.alloc(size, `${index} `));
    const nodes = pieces.flatMap((piece) =>
      builder.addLeaf({ cid: add('raw', piece), sizeBytes: piece.length }),
    );
    const { root, nodes: rest } = builder.finish();
    for (const { bytes } of [...nodes, ...rest]) add('dag-pb', bytes);
    return { root, file: Buffer.concat(pieces), leaves: pieces.map((p) => hashBlock('raw', p)) };
  };
  return { reader, blocks, read, add, addFile, held: () => held };
}

type Memory = ReturnType<typeof memory>;

async function readRange({ reader }: Memory, cid: Cid, range: ByteRange): Promise<Buffer> {
  const parts: Buffer[] = [];
  const pieces = await openLooseFile({ cid }, range, reader, flow, { signal });
  for await (const { bytes, release } of pieces) {
    parts.push(Buffer.from(bytes));
    release();
  }
  return Buffer.concat(parts);
}

describe('a file along its DAG', () => {
  it('gives any range, from the blocks of that range alone', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 2, maxLength: 30 }),
        fc.nat(),
        fc.nat(),
        async (sizes, a, b) => {
          const store = memory();
          const { root, file, leaves } = store.addFile(sizes);
          const [start = 0, end = 0] = [a % file.length, b % file.length].toSorted((x, y) => x - y);
          let at = 0;
          for (const [index, size] of sizes.entries()) {
            const isWanted = at <= end && at + size > start;
            if (!isWanted) store.blocks.delete(leaves[index] as Cid); // it has one a size
            at += size;
          }
          const got = await readRange(store, root, { start, end });
          expect(got.equals(file.subarray(start, end + 1))).toBe(true);
          expect(store.held()).toBe(0);
        },
      ),
      { seed: 20261122, numRuns: 60 },
    );
  });

  it('ends with a missing leaf, after the right bytes before it, and gives all buffers back', async () => {
    const store = memory();
    const { root, file, leaves } = store.addFile([10, 10, 10, 10, 10, 10]);
    store.blocks.delete(leaves[2] as Cid);
    const pieces = await openLooseFile({ cid: root }, { start: 0, end: 59 }, store.reader, flow, {
      signal,
    });
    const parts: Buffer[] = [];
    const reading = (async () => {
      for await (const { bytes, release } of pieces) {
        parts.push(Buffer.from(bytes));
        release();
      }
    })();
    await expect(reading).rejects.toMatchObject({ type: 'problems/block-absent' });
    expect(Buffer.concat(parts).equals(file.subarray(0, 20))).toBe(true);
    await new Promise(setImmediate);
    expect(store.held()).toBe(0);
  });

  it('breaks where a leaf is not as long as its parent says, with no wrong byte', async () => {
    for (const lie of [9, 11]) {
      const store = memory();
      const builder = createDagBuilder();
      const good = Buffer.alloc(10, 'a');
      const bad = Buffer.alloc(10, 'b');
      builder.addLeaf({ cid: store.add('raw', good), sizeBytes: 10 });
      builder.addLeaf({ cid: store.add('raw', bad), sizeBytes: lie });
      const { root, nodes, sizeBytes } = builder.finish();
      for (const { bytes } of nodes) store.add('dag-pb', bytes);
      await expect(readRange(store, root, { start: 0, end: sizeBytes - 1 })).rejects.toMatchObject({
        type: 'problems/manifest-invalid',
      });
      expect(store.held()).toBe(0);
    }
  });

  it('is not begun when some of it is elsewhere and others may not be asked', async () => {
    const store = memory({ isLocalOnly: true });
    const { root, leaves } = store.addFile([10, 10, 10]);
    store.blocks.delete(leaves[2] as Cid);
    await expect(readRange(store, root, { start: 0, end: 29 })).rejects.toThrow(NotCached);
    expect(await readRange(store, root, { start: 0, end: 19 })).toHaveLength(20);
  });

  it('may begin in a CID that holds its bytes itself', async () => {
    const store = memory();
    const { root } = store.addFile([10, 10]);
    const bytes = store.blocks.get(root) ?? new Uint8Array();
    const pieces = await openLooseFile({ bytes }, { start: 5, end: 14 }, store.reader, flow, {
      signal,
    });
    let sizeBytes = 0;
    for await (const piece of pieces) sizeBytes += piece.bytes.length;
    expect(sizeBytes).toBe(10);
    expect(store.read).not.toContain(root);
  });
});

describe('seekAhead', () => {
  it('tells what it found before what failed', async () => {
    const entry = {
      cid: hashBlock('raw', Buffer.from('x')),
      kind: 'leaf',
      sizeBytes: 1,
      offset: 0,
    } as const;
    async function* walk() {
      for (let index = 0; index < 70; index += 1) yield { entry, index };
      throw new Error('a node is gone');
    }
    let looked = 0;
    const got: number[] = [];
    const lookedAt: number[] = [];
    const reading = (async () => {
      for await (const { index } of seekAhead(walk(), async () => ((looked += 1), []))) {
        got.push(index);
        lookedAt.push(looked);
      }
    })();
    await expect(reading).rejects.toThrow('a node is gone');
    expect(got).toHaveLength(70);
    expect([lookedAt[0], lookedAt[64]]).toEqual([64, 70]); // one question's worth each time
  });
});
