import { describe, expect, it } from '@jest/globals';
import { CarBufferWriter } from '@ipld/car';
import { BLOCK_SIZE_MAX_BYTES, CarInvalid } from '@shoal/protocol';
import { CID } from 'multiformats/cid';
import { create as createDigest } from 'multiformats/hashes/digest';
import { hashBlock, openCar } from '../src/index.ts';

const blockOf = (text: string) => {
  const bytes = new TextEncoder().encode(text);
  return { cid: CID.parse(hashBlock('raw', bytes)), bytes };
};
const A = blockOf('a');
const B = blockOf('block b');

function carOf(roots: readonly CID[], blocks: readonly { cid: CID; bytes: Uint8Array }[]) {
  const writer = CarBufferWriter.createWriter(new ArrayBuffer(64 * 1024), { roots: [...roots] });
  for (const block of blocks) writer.write(block);
  return writer.close({ resize: true });
}

/** Wraps a CAR of version 1 as version 2 does, with an index behind it. */
function wrap(v1: Uint8Array): Uint8Array {
  const head = new Uint8Array(51 + 9);
  head.set([0x0a, 0xa1, 0x67, 0x76, 0x65, 0x72, 0x73, 0x69, 0x6f, 0x6e, 0x02]);
  const view = new DataView(head.buffer);
  view.setBigUint64(27, 60n, true);
  view.setBigUint64(35, BigInt(v1.length), true);
  return Uint8Array.from([...head, ...v1, 1, 2, 3]);
}

async function* inPieces(bytes: Uint8Array, sizeBytes: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += sizeBytes) yield bytes.subarray(at, at + sizeBytes);
}

async function read(bytes: Uint8Array, sizeBytes = 5) {
  const { roots, blocks } = await openCar(inPieces(bytes, sizeBytes));
  const found: string[] = [];
  for await (const block of blocks)
    found.push(`${block.cid.toString()} ${Buffer.from(block.bytes).toString()}`);
  return { roots: roots.map(String), found };
}

const WHOLE = {
  roots: [A.cid.toString()],
  found: [`${A.cid.toString()} a`, `${B.cid.toString()} block b`],
};

describe('openCar', () => {
  it.each([1, 7, 100_000])('reads roots and blocks in pieces of %p bytes', async (sizeBytes) => {
    expect(await read(carOf([A.cid], [A, B]), sizeBytes)).toEqual(WHOLE);
  });

  it('unwraps version 2 and reads its index away', async () => {
    expect(await read(wrap(carOf([A.cid], [A, B])))).toEqual(WHOLE);
  });

  it('reads a CAR without roots, one without blocks, and CIDs of version 0', async () => {
    expect(await read(carOf([], []))).toEqual({ roots: [], found: [] });
    const { digest } = blockOf('v0').cid.multihash;
    const v0 = CID.createV0(createDigest(0x12, digest));
    const { found } = await read(carOf([v0], [{ cid: v0, bytes: new TextEncoder().encode('v0') }]));
    expect(found).toEqual([`${v0.toString()} v0`]);
  });

  it('refuses a CAR that is cut off anywhere but between two blocks', async () => {
    const car = carOf([A.cid], [A, B]);
    const whole = carOf([A.cid], [A]).length;
    const header = carOf([A.cid], []).length;
    const lengths = Array.from({ length: car.length }, (_, length) => length);
    const cut = lengths.filter((length) => length !== whole && length !== header);
    const reads = await Promise.allSettled(cut.map((length) => read(car.subarray(0, length))));
    for (const { status, reason } of reads as PromiseRejectedResult[])
      expect([status, reason]).toEqual(['rejected', expect.any(CarInvalid)]);
    expect((await read(car.subarray(0, whole))).found).toHaveLength(1);
    expect((await read(car.subarray(0, header))).found).toEqual([]);
  });

  it('refuses a version 2 whose data is cut off, even between two blocks', async () => {
    const v1 = carOf([A.cid], [A, B]);
    const cut = 60 + carOf([A.cid], [A]).length;
    await expect(read(wrap(v1).subarray(0, cut))).rejects.toThrow(/cut off/);
    await expect(read(wrap(v1).subarray(0, 40))).rejects.toThrow(/cut off/);
  });

  it('refuses lengths that nobody should wait for, before it reads on', async () => {
    const header = carOf([A.cid], []);
    const huge = Uint8Array.from([...header, 0xff, 0xff, 0xff, 0xff, 0x7f]);
    await expect(read(huge)).rejects.toThrow(/larger than/);
    const endless = Uint8Array.from([...header, ...Array.from({ length: 9 }, () => 0xff)]);
    await expect(read(endless)).rejects.toThrow(/length/);
    await expect(read(Uint8Array.of(0xff, 0xff, 0xff, 0x7f))).rejects.toThrow(/header/);
    await expect(read(Uint8Array.of(0x00))).rejects.toThrow(/header/);
  });

  it('refuses a block that no peer could hold', async () => {
    const bytes = new Uint8Array(BLOCK_SIZE_MAX_BYTES + 1);
    const writer = CarBufferWriter.createWriter(new ArrayBuffer(bytes.length + 4096), {
      roots: [],
    });
    writer.write({ cid: A.cid, bytes });
    await expect(read(writer.close({ resize: true }), 100_000)).rejects.toThrow(/at most/);
  });

  it.each([
    ['no CAR', new TextEncoder().encode('<!doctype html><p>')],
    ['a section without a CID', Uint8Array.from([...carOf([], []), 3, 9, 9, 9])],
    ['a section of no bytes', Uint8Array.from([...carOf([], []), 0])],
  ])('refuses %s', async (_, bytes) => {
    await expect(read(bytes)).rejects.toThrow(CarInvalid);
  });

  it('passes on what its source throws', async () => {
    const broken = (async function* () {
      yield carOf([A.cid], [A]).subarray(0, 70);
      throw new Error('the line is dead');
    })();
    await expect(
      (async () => {
        for await (const block of (await openCar(broken)).blocks) void block;
      })(),
    ).rejects.toThrow('the line is dead');
  });
});
