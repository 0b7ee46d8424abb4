import { describe, expect, it } from '@jest/globals';
import type { PeerId } from '@shoal/protocol';
import { createHolders } from '../src/holders.ts';
import { draft, haveMap } from './integration/peer.ts';

const A = 'a' as PeerId;
const { root } = draft('x');

describe('holders', () => {
  it('remember with age, also that there is nothing', () => {
    let nowMs = 0;
    const holders = createHolders({ clock: () => nowMs });
    const map = haveMap(root, 3, [1]);
    holders.note(root, A, map);
    nowMs = 500;
    expect(holders.of(root)).toEqual([{ peerId: A, haveMap: map, ageMs: 500 }]);
    expect(holders.recall(root, A, 499)).toBeUndefined();
    holders.note(root, A, undefined);
    expect(holders.of(root)).toEqual([]);
    expect(holders.recall(root, A, 0)).toEqual({ haveMap: undefined, atMs: 500 });
  });

  it('forget what a peer said that went', () => {
    const holders = createHolders({ clock: () => 0 });
    holders.note(root, A, haveMap(root, 3, [1]));
    holders.note(root, 'b' as PeerId, haveMap(root, 3, [2]));
    holders.forget(A);
    expect(holders.recall(root, A, 1000)).toBeUndefined();
    expect(holders.of(root)).toMatchObject([{ peerId: 'b' }]);
  });

  it('forget the roots told least recently', () => {
    const holders = createHolders({ clock: () => 0 });
    const roots = Array.from({ length: 8193 }, (_, index) => draft(`file ${index}`).root);
    for (const each of roots) holders.note(each, A, haveMap(each, 3, [0]));
    expect(holders.of(roots[0] ?? root)).toEqual([]);
    expect(holders.of(roots.at(-1) ?? root)).toHaveLength(1);
  });
});
