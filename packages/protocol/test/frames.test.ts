import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { decodeFrames, encodeFrames, RequestInvalid, type Codec } from '../src/index.ts';

const frame = fc.record({
  codec: fc.constantFrom<Codec[]>('raw', 'dag-pb'),
  bytes: fc.uint8Array({ maxLength: 100 }),
});

describe('frames', () => {
  it('come apart as they were joined', () => {
    fc.assert(
      fc.property(fc.array(frame), (frames) => {
        expect(decodeFrames(encodeFrames(frames))).toEqual(frames);
      }),
      { seed: 20261122 },
    );
  });

  it('are refused when torn anywhere but between two', () => {
    fc.assert(
      fc.property(fc.array(frame, { minLength: 1 }), fc.nat(), (frames, cut) => {
        const body = encodeFrames(frames);
        const borders = new Set([0]);
        frames.reduce((at, { bytes }) => {
          borders.add(at + 5 + bytes.length);
          return at + 5 + bytes.length;
        }, 0);
        fc.pre(!borders.has(cut % body.length));
        expect(() => decodeFrames(body.subarray(0, cut % body.length))).toThrow(RequestInvalid);
      }),
      { seed: 20261122 },
    );
  });

  it('of an unknown codec or a size past any block are refused', () => {
    expect(() => decodeFrames(Uint8Array.of(7, 0, 0, 0, 0))).toThrow(/codec/);
    expect(() => decodeFrames(Uint8Array.of(0, 255, 255, 255, 255))).toThrow(/too large/);
  });
});
