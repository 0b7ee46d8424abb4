import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { chunk } from '../src/index.ts';

async function* streamOf(pieces: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* pieces;
}

describe('chunk', () => {
  it('gives back the same bytes, in cuts of one size, however they came', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.uint8Array({ maxLength: 50 }), { maxLength: 30 }),
        fc.integer({ min: 1, max: 40 }),
        async (pieces, sizeBytes) => {
          const cuts: Buffer[] = [];
          const takeBuffer = () => new Uint8Array(sizeBytes);
          for await (const { bytes } of chunk(streamOf(pieces), { sizeBytes, takeBuffer }))
            cuts.push(Buffer.from(bytes));
          expect(Buffer.concat(cuts)).toEqual(Buffer.concat(pieces));
          expect(cuts.slice(0, -1).every(({ length }) => length === sizeBytes)).toBe(true);
          const last = cuts.at(-1)?.length ?? -1;
          expect(last === 0 ? cuts.length === 1 : last <= sizeBytes).toBe(true);
        },
      ),
      { seed: 20261122 },
    );
  });

  it('takes no second buffer before the first is handed over', async () => {
    let taken = 0;
    const cuts = chunk(streamOf([new Uint8Array(10)]), {
      sizeBytes: 4,
      takeBuffer: () => {
        taken += 1;
        return new Uint8Array(4);
      },
    });
    await cuts.next();
    expect(taken).toBe(1);
    await cuts.next();
    expect(taken).toBe(2);
  });
});
