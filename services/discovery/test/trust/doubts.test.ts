import { describe, expect, it } from '@jest/globals';
import { hashBlock } from '@shoal/blocks';
import type { BlockPlace, PeerId } from '@shoal/protocol';
import { Doubts } from '../../src/trust/doubts.ts';

const [A, B] = ['a' as PeerId, 'b' as PeerId]; // nothing here parses them
const rootAt = (file: number) => hashBlock('raw', Buffer.from(`root ${file}`));
const placeAt = (file: number, index = 0): BlockPlace => ({ root: rootAt(file), index });

describe('blocks in doubt', () => {
  it('count as failed with the third denial, and anew after a wrong proof', () => {
    const doubts = new Doubts();
    const deny = () => doubts.noteDenial(A, placeAt(1));
    expect([deny(), deny(), deny()]).toEqual([false, false, true]);
    doubts.noteFailure(A, placeAt(1));
    expect(deny()).toBe(false);
  });

  it('are asked for again nearest to a verdict first, then the oldest first', () => {
    const doubts = new Doubts();
    doubts.noteFailure(A, placeAt(1));
    doubts.noteDenial(A, placeAt(2));
    for (let count = 0; count < 2; count += 1) doubts.noteDenial(A, placeAt(3));
    doubts.noteFailure(B, placeAt(4));
    expect(doubts.of(A)).toEqual([placeAt(3), placeAt(2), placeAt(1)]);
  });

  it('are ended once, and until then name their files', () => {
    const doubts = new Doubts();
    doubts.noteFailure(A, placeAt(1));
    doubts.noteFailure(A, placeAt(1, 1));
    doubts.noteFailure(B, placeAt(2));
    expect([...doubts.roots()]).toEqual([rootAt(1), rootAt(2)]);
    expect(doubts.end(A, placeAt(1))).toBe(true);
    expect(doubts.end(A, placeAt(1))).toBe(false);
    expect([...doubts.roots(A)]).toEqual([rootAt(1)]);
    expect(doubts.end(A, placeAt(1, 1))).toBe(true);
    expect([...doubts.roots(A)]).toEqual([]);
  });

  it('forget the oldest of more than 1024', () => {
    const doubts = new Doubts();
    for (let index = 0; index <= 1024; index += 1) doubts.noteFailure(A, placeAt(1, index));
    expect(doubts.of(A)).toHaveLength(1024);
    expect(doubts.end(A, placeAt(1, 0))).toBe(false);
  });
});
