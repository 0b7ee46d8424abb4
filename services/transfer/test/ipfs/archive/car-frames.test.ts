import { describe, expect, it } from '@jest/globals';
import { CarReader } from '@ipld/car';
import { hashBlock } from '@shoal/blocks';
import { carFrame, carHeader } from '../../../src/ipfs/archive/car-frames.ts';

const entry = { kind: 'leaf', sizeBytes: 0, offset: 0 } as const;

describe('the parts of a CAR', () => {
  it.each([0, 1, 90, 91, 16_000, 2 * 1024 * 1024])(
    'around a block of %d bytes are read by the reference library',
    async (sizeBytes) => {
      const bytes = Buffer.alloc(sizeBytes, 7);
      const cid = hashBlock('dag-pb', bytes);
      const frames = [false, true].flatMap((isV0) => [
        carFrame({ cid, ...entry, ...(isV0 ? { isV0: true as const } : {}) }, sizeBytes),
        bytes,
      ]);
      const reader = await CarReader.fromBytes(Buffer.concat([carHeader(cid), ...frames]));
      expect((await reader.getRoots()).map(String)).toEqual([cid]);
      const blocks = [];
      for await (const block of reader.blocks()) blocks.push(block);
      expect(blocks.map((block) => block.cid.version)).toEqual([1, 0]);
      for (const block of blocks) {
        expect(block.cid.toV1().toString()).toBe(cid);
        expect(Buffer.from(block.bytes).equals(bytes)).toBe(true);
      }
    },
  );

  it('have any root, one that holds its bytes itself too', async () => {
    for (const root of [
      'bafkqaaa',
      'bafkqabtimvwgy3yk',
      'QmYzfKSE55XCjD1MW128RfciAf2DViABhEiXfgVFMabSjN',
    ]) {
      const reader = await CarReader.fromBytes(carHeader(root));
      expect((await reader.getRoots()).map(String)).toEqual([root]);
    }
  });
});
