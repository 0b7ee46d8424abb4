import { describe, expect, it } from '@jest/globals';
import { hashBlock, parseCid, walkDag } from '@shoal/blocks';
import { createLog } from '@shoal/chassis';
import { type Cid, ManifestInvalid, MiB, Overloaded, storageRoutes } from '@shoal/protocol';
import { AnyBlocks, type ReadOptions } from '../../src/fetch/any-blocks.ts';
import { openLooseFile } from '../../src/file/loose-file.ts';
import { createLinkRoom, createReadBudget, linksOfNode } from '../../src/fetch/read-budget.ts';
import { bitsFor, paperClient, paperView } from '../paper.ts';

const { signal } = new AbortController();
const flow = { windowBlocks: () => 4, noteTook: () => undefined };

interface Child {
  readonly cid: Cid;
  readonly sizeBytes: number;
}

/** A number, or bytes with their length, as protobuf writes them under a tag. */
function field(tag: number, value: number | Uint8Array): Uint8Array {
  const numbers: number[] = [tag];
  let rest = typeof value === 'number' ? value : value.length;
  for (; rest > 127; rest = Math.floor(rest / 128)) numbers.push((rest % 128) | 128);
  numbers.push(rest);
  const head = Uint8Array.from(numbers);
  return typeof value === 'number' ? head : Buffer.concat([head, value]);
}

/** A node of a file over children, as dag-pb and UnixFS write it. */
function fileNode(children: readonly Child[]): Uint8Array {
  const links = children.map(({ cid }) => {
    const parts = [
      field(0x0a, parseCid(cid).bytes),
      field(0x12, new Uint8Array()),
      field(0x18, 999),
    ];
    return field(0x12, Buffer.concat(parts));
  });
  const sizes = children.map(({ sizeBytes }) => field(0x20, sizeBytes));
  const total = children.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const unixfs = Buffer.concat([field(0x08, 2), field(0x18, total), ...sizes]);
  return Buffer.concat([...links, field(0x0a, unixfs)]);
}

/** Levels of nodes that name the one below twice each, and nothing many times between, over a byte. */
function makeBomb(levels: number, paddingLinks: number, onFetch = () => {}) {
  const blocks = new Map<Cid, Uint8Array>();
  const add = (codec: 'raw' | 'dag-pb', bytes: Uint8Array): Cid => {
    const cid = hashBlock(codec, bytes);
    blocks.set(cid, bytes);
    return cid;
  };
  const nothing = { cid: add('raw', Buffer.alloc(0)), sizeBytes: 0 };
  const padding = Array.from<Child>({ length: paddingLinks }).fill(nothing);
  let below: Child = { cid: add('raw', Buffer.from('x')), sizeBytes: 1 };
  for (let level = 0; level < levels; level += 1)
    below = {
      cid: add('dag-pb', fileNode([below, ...padding, below])),
      sizeBytes: 2 * below.sizeBytes,
    };
  const blockOf = (cid: Cid) => ({
    bytes: Buffer.from(blocks.get(cid) ?? []),
    release: () => undefined,
  });
  // All of them are in our own storage.
  const any = new AnyBlocks(
    {
      client: paperClient([
        [storageRoutes.haveBlocks, ({ body: { cids } }) => bitsFor(cids, (cid) => blocks.has(cid))],
      ]),
      view: paperView([{}]).view,
      ask: async ({ cid }) => blockOf(cid),
      fetchBlock: async ({ cid }) => {
        onFetch();
        return blockOf(cid);
      },
      log: createLog('transfer', 'silent'),
      freeMaxBytes: MiB,
    },
    { signal },
  );
  return {
    root: below.cid,
    sizeBytes: below.sizeBytes,
    readers: (options: ReadOptions) => any.open(options),
  };
}

/** Reads a bomb from front to end, until it is refused; answers how much came. */
async function readUntilRefused({ root, sizeBytes, readers }: ReturnType<typeof makeBomb>) {
  let sentBytes = 0;
  const reader = readers({
    signal,
    client: 'a',
    isLocalOnly: false,
    isPinned: false,
    sentBytes: () => sentBytes,
  });
  const range = { start: 0, end: sizeBytes - 1 };
  const pieces = await openLooseFile({ cid: root }, range, reader, flow, { signal });
  const readOn = async () => {
    for await (const { bytes, release } of pieces) {
      sentBytes += bytes.length;
      release();
    }
  };
  await expect(readOn()).rejects.toThrow(ManifestInvalid);
  return sentBytes;
}

describe('a file that a few nodes unfold to', () => {
  it('is not looked through without end when others may not be asked', async () => {
    const { root, sizeBytes, readers } = makeBomb(30, 500);
    const reader = readers({
      signal,
      client: 'a',
      isLocalOnly: true,
      isPinned: false,
      sentBytes: () => 0,
    });
    const range = { start: 0, end: sizeBytes - 1 };
    await expect(openLooseFile({ cid: root }, range, reader, flow, { signal })).rejects.toThrow(
      /too many blocks were read on the way to it/,
    );
  });

  it('is read as long as its bytes go out, and no further', async () => {
    const sentBytes = await readUntilRefused(makeBomb(30, 20));
    expect(sentBytes).toBeGreaterThan(0);
  });

  it('is read no further when its leaves give next to nothing, however small its nodes', async () => {
    let fetched = 0;
    await readUntilRefused(makeBomb(40, 0, () => (fetched += 1)));
    expect(fetched).toBeGreaterThan(0);
    expect(fetched).toBeLessThan(200); // the test's budget is a MiB
  });

  it('counts the links of a node that is read for what they take in memory', () => {
    expect(linksOfNode(1024)).toBe(1024);
    expect(linksOfNode(20_000)).toBe(80_000);
  });

  it('holds no more links than there is room for, over all who read it', async () => {
    const { root, readers } = makeBomb(3, 2000);
    const room = createLinkRoom(10_000);
    const reader = readers({ signal, client: 'a', isLocalOnly: false, isPinned: true });
    const walks = [1, 2, 3].map(() => {
      const links = room.open();
      return walkDag(root, reader.getNode, { onPending: (count) => links.set(count) });
    });
    // Two of them have their root's links, and the third would go past the rest.
    for (const walk of walks) await walk.next();
    const readAll = async () => {
      for (let turn = 0; turn < 8000; turn += 1) for (const walk of walks) await walk.next();
    };
    await expect(readAll()).rejects.toThrow(Overloaded);
  });
});

describe('what a walk may cost', () => {
  it('is a few seconds for nothing, and a multiple of what it gives', () => {
    let sentBytes = 0;
    const budget = createReadBudget(() => sentBytes, { nowMs: () => 0 });
    budget.spend('a', 16 * MiB);
    expect(() => budget.spend('a', 1)).toThrow(ManifestInvalid);
    sentBytes = 2 * MiB;
    budget.spend('a', 12 * MiB);
    expect(() => budget.spend('a', 8 * MiB)).toThrow(ManifestInvalid);
  });

  it('is two minutes without a byte', () => {
    let nowMs = 0;
    let sentBytes = 0;
    const budget = createReadBudget(() => sentBytes, { nowMs: () => nowMs });
    nowMs = 120_000;
    budget.spend('a', 1);
    sentBytes = 1;
    nowMs = 200_000;
    budget.spend('a', 1);
    nowMs = 320_001;
    expect(() => budget.spend('a', 1)).toThrow(ManifestInvalid);
  });
});

describe('room for links', () => {
  it('is for one alone, then shared; and free again when they are over', () => {
    const room = createLinkRoom(100);
    const first = room.open();
    first.set(90);
    const second = room.open();
    second.set(40); // more than there is, but no more than its half
    expect(() => first.set(91)).toThrow(Overloaded);
    first[Symbol.dispose]();
    second.set(100);
    expect(() => second.set(101)).toThrow(Overloaded);
  });
});
