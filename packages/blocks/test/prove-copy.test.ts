import { describe, expect, it } from '@jest/globals';
import { BLOCK_SIZE_MAX_BYTES, CopyProof, type Nonce, type PeerId } from '@shoal/protocol';
import fc from 'fast-check';
import { hashBlock } from '../src/cid.ts';
import {
  type CopyChallenge,
  PROOF_RANGE_BYTES,
  proveCopy,
  rangesToProve,
} from '../src/prove-copy.ts';

const WHOLE_BYTES = 4 * PROOF_RANGE_BYTES;
const nonceOf = (fill: number): Nonce => Buffer.alloc(16, fill).toString('base64url');
const peer = (name: string) => name as PeerId; // any text does here
const challengeOf = (bytes: Uint8Array, over: Partial<CopyChallenge> = {}): CopyChallenge => ({
  nonce: nonceOf(1),
  asker: peer('asker'),
  holder: peer('holder'),
  cid: hashBlock('raw', bytes),
  ...over,
});
/** As a holder of these bytes would answer. */
const prove = (challenge: CopyChallenge, bytes: Uint8Array) =>
  proveCopy(
    challenge,
    bytes.length,
    rangesToProve(challenge, bytes.length).map(({ offset, length }) =>
      bytes.subarray(offset, offset + length),
    ),
  );
const block = fc.uint8Array({ minLength: 1, maxLength: 64 * 1024, size: 'max' });

describe('a proof of a copy', () => {
  it('is the same from the same bytes, and of the form that goes over the wire', () => {
    fc.assert(
      fc.property(block, (bytes) => {
        const proof = prove(challengeOf(bytes), bytes);
        expect(prove(challengeOf(bytes), Uint8Array.from(bytes))).toBe(proof);
        expect(CopyProof.safeParse(proof).success).toBe(true);
      }),
      { seed: 11, numRuns: 50 },
    );
  });

  it('fails with one wrong byte anywhere in what was asked for', () => {
    fc.assert(
      fc.property(block, fc.nat(), fc.nat(), (bytes, pickRange, pickByte) => {
        const challenge = challengeOf(bytes);
        const ranges = rangesToProve(challenge, bytes.length);
        const { offset, length } = ranges[pickRange % ranges.length] ?? { offset: 0, length: 1 };
        const wrong = Uint8Array.from(bytes);
        const at = offset + (pickByte % length);
        wrong[at] = (wrong[at] ?? 0) ^ 1;
        expect(prove(challenge, wrong)).not.toBe(prove(challenge, bytes));
      }),
      { seed: 12, numRuns: 100 },
    );
  });

  it('fails with another nonce, by another holder, for another asker and of another block', () => {
    const bytes = new Uint8Array(100_000).fill(7); // the same in each range: only what is said differs
    const proof = prove(challengeOf(bytes), bytes);
    const others: Partial<CopyChallenge>[] = [
      { nonce: nonceOf(2) },
      { holder: peer('other') },
      { asker: peer('other') },
      { asker: peer('holder'), holder: peer('asker') },
      { cid: hashBlock('raw', Buffer.from('other')) },
    ];
    for (const other of others) expect(prove(challengeOf(bytes, other), bytes)).not.toBe(proof);
  });

  it('fails from a block that lost its end, or has more than it should', () => {
    const bytes = new Uint8Array(50_000).fill(7);
    const challenge = challengeOf(bytes);
    const proof = prove(challenge, bytes);
    for (const length of [0, 1, WHOLE_BYTES, bytes.length - 1])
      expect(prove(challenge, bytes.subarray(0, length))).not.toBe(proof);
    expect(prove(challenge, new Uint8Array(50_001).fill(7))).not.toBe(proof);
  });

  it('is there of an empty block too, whoever has that', () => {
    const nothing = new Uint8Array();
    const challenge = challengeOf(nothing);
    expect(rangesToProve(challenge, 0)).toEqual([{ offset: 0, length: 0 }]);
    expect(prove(challenge, nothing)).toHaveLength(43);
    expect(prove({ ...challenge, nonce: nonceOf(3) }, nothing)).not.toBe(prove(challenge, nothing));
  });

  it('asks for a bounded number of bytes within the block, elsewhere with each nonce', () => {
    const cid = hashBlock('raw', Buffer.from('x'));
    const seen = new Set<number>();
    fc.assert(
      fc.property(fc.nat(BLOCK_SIZE_MAX_BYTES), fc.nat(255), (sizeBytes, fill) => {
        const ranges = rangesToProve(
          { ...challengeOf(Buffer.from('x')), cid, nonce: nonceOf(fill) },
          sizeBytes,
        );
        const total = ranges.reduce((sum, { length }) => sum + length, 0);
        expect(total).toBe(Math.min(sizeBytes, WHOLE_BYTES));
        for (const { offset, length } of ranges)
          expect(offset >= 0 && offset + length <= sizeBytes).toBe(true);
        for (const { offset } of ranges) seen.add(offset);
      }),
      { seed: 13, numRuns: 300 },
    );
    expect(seen.size).toBeGreaterThan(500);
  });
});
