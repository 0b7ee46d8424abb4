import { describe, expect, it } from '@jest/globals';
import type { PeerId } from '@shoal/protocol';
import fc from 'fast-check';
import { Rumours } from '../src/rumours.ts';

const [A, B, C] = ['a', 'b', 'c'] as [PeerId, PeerId, PeerId];
const member = { peerId: A, incarnation: 1, seq: 1 };

describe('what others say of a member', () => {
  it('is nothing while one says it, however often', () => {
    const rumours = new Rumours();
    for (let nowMs = 0; nowMs < 1_000_000; nowMs += 1000)
      expect(rumours.tell(member, B, nowMs)).toBe('nothing');
  });

  it('makes a suspect when two say it, and one that is gone when nobody opens either', () => {
    const rumours = new Rumours();
    rumours.tell(member, B, 0);
    expect(rumours.tell(member, C, 1)).toBe('suspect');
    expect(rumours.refuse(member, 2)).toBe('gone');
    const refused = new Rumours();
    expect(refused.refuse(member, 0)).toBe('suspect');
    expect(refused.tell(member, B, 1)).toBe('suspect');
    expect(refused.tell(member, C, 2)).toBe('gone');
  });

  it('is void with a newer record, and after a time', () => {
    const rumours = new Rumours();
    rumours.tell(member, B, 0);
    expect(rumours.tell({ ...member, seq: 2 }, C, 1)).toBe('nothing');
    expect(rumours.tell({ ...member, seq: 2 }, B, 200_000)).toBe('nothing');
  });

  it('of one teller moves nobody, whatever it says of whom in whatever order', () => {
    const item = fc.record({ who: fc.nat(2000), seq: fc.nat(3), gapMs: fc.nat(60_000) });
    fc.assert(
      fc.property(fc.array(item, { maxLength: 200 }), (items) => {
        const rumours = new Rumours();
        let nowMs = 0;
        return items.every(({ who, seq, gapMs }) => {
          nowMs += gapMs;
          const of = { peerId: `member ${who}` as PeerId, incarnation: 1, seq };
          return rumours.tell(of, B, nowMs) === 'nothing';
        });
      }),
      { seed: 1 },
    );
  });
});
