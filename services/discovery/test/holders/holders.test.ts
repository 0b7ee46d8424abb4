import { describe, expect, it } from '@jest/globals';
import type { PeerId } from '@shoal/protocol';
import { createHolders } from '../../src/holders/holders.ts';
import { draft, haveMap } from '../integration/peer.ts';

const A = 'a' as PeerId;
const B = 'b' as PeerId;
const { root } = draft('x');

/** A table whose clocks stand where the test says. */
function tableAt(nowMs = 0, wallMs = 1000) {
  const time = { nowMs, wallMs };
  return {
    time,
    holders: createHolders({ clock: () => time.nowMs, wallClock: () => time.wallMs }),
  };
}

describe('holders', () => {
  it('remember with date, also that there is nothing, for as long as nothing else is said', () => {
    const { time, holders } = tableAt();
    const map = haveMap(root, 3, [1]);
    holders.note(root, A, map);
    time.nowMs = 3_600_000;
    expect(holders.of(root)).toEqual([{ peerId: A, haveMap: map, ageMs: 3_600_000 }]);
    expect(holders.last(root, A)).toEqual({ haveMap: map, atMs: 0, isCurrent: true });
    holders.note(root, A, undefined);
    expect(holders.of(root)).toEqual([]);
    expect(holders.last(root, A)).toMatchObject({ haveMap: undefined, atMs: 3_600_000 });
    expect(holders.last(root, B)).toBeUndefined();
  });

  it('remember whether a peer could prove what it said, until it says that it has nothing', () => {
    const { time, holders } = tableAt();
    holders.noteProof(root, A, false); // nothing was said that this could be of
    holders.note(root, A, haveMap(root, 3, [1]));
    expect(holders.last(root, A)?.proof).toBeUndefined();
    time.nowMs = 5;
    holders.noteProof(root, A, false);
    time.nowMs = 6;
    holders.note(root, A, haveMap(root, 3, [1, 2]));
    expect(holders.last(root, A)?.proof).toEqual({ isProved: false, atMs: 5 });
    holders.noteProof(root, A, true);
    expect(holders.last(root, A)?.proof).toEqual({ isProved: true, atMs: 6 });
    holders.note(root, A, undefined);
    holders.note(root, A, haveMap(root, 3, [1]));
    expect(holders.last(root, A)?.proof).toBeUndefined();
  });

  it('are renewed for as long as a peer counts no loss, but for what it did not have', () => {
    const { time, holders } = tableAt();
    const { root: other } = draft('y');
    const dates = () => [root, other].map((each) => holders.last(each, A)?.atMs);
    const count = (nowMs: number, losses: number | undefined, askedAtMs: number) => {
      time.nowMs = nowMs;
      holders.noteLosses(A, losses, askedAtMs);
      return dates();
    };
    holders.note(root, A, haveMap(root, 3, [1]));
    holders.note(other, A, undefined);
    expect(count(10, 7, 9)).toEqual([0, 0]); // it may have lost it before it was first asked
    holders.note(root, A, haveMap(root, 3, [1]));
    expect(count(20, 7, 19)).toEqual([19, 0]);
    expect(count(21, 7, 12)).toEqual([19, 0]); // an answer that was overtaken
    expect(holders.of(root)).toMatchObject([{ ageMs: 2 }]);
    expect(count(30, 8, 29)).toEqual([10, 0]);
    expect(count(40, 8, 39)).toEqual([10, 0]); // said before the loss
    holders.note(root, A, haveMap(root, 3, [1]));
    expect(count(50, 8, 49)).toEqual([49, 0]);
    expect(count(60, undefined, 59)).toEqual([40, 0]);
    expect(count(70, 8, 69)).toEqual([40, 0]);
    holders.note(root, A, haveMap(root, 3, [1]));
    expect(count(80, 8, 79)).toEqual([79, 0]);
    holders.turn(A);
    expect(dates()).toEqual([70, 0]);
  });

  it('keep what a peer said that went, and count it no more', () => {
    const { time, holders } = tableAt();
    const map = haveMap(root, 3, [1]);
    holders.note(root, A, map);
    holders.note(root, B, haveMap(root, 3, [2]));
    time.nowMs = 10;
    holders.turn(A);
    expect(holders.last(root, A)).toEqual({ haveMap: map, atMs: 0, isCurrent: false });
    expect(holders.of(root)).toMatchObject([{ peerId: B }]);
    holders.note(root, A, map, { atMs: 5 }); // asked before it went
    expect(holders.last(root, A)).toMatchObject({ isCurrent: false });
    holders.note(root, A, map);
    expect(holders.last(root, A)).toMatchObject({ atMs: 10, isCurrent: true });
  });

  it('let nothing that was read earlier take the place of what was read later', () => {
    const { time, holders } = tableAt();
    const [more, less] = [haveMap(root, 3, [0, 1, 2]), haveMap(root, 3, [0])];
    holders.note(root, A, more, { readAtMs: 500 });
    holders.note(root, A, less, { readAtMs: 400 }); // an announcement that came late
    expect(holders.last(root, A)?.haveMap).toEqual(more);
    time.nowMs = 1;
    holders.turn(A);
    holders.note(root, A, less, { readAtMs: 300 }); // another life, another clock
    expect(holders.last(root, A)?.haveMap).toEqual(less);
    holders.note(root, A, more, { readAtMs: 100_000 });
    holders.note(root, A, less, { readAtMs: 200 }); // its clock was set back
    expect(holders.last(root, A)?.haveMap).toEqual(less);
  });

  it('date what came unasked by when its peer read it, as far as its answers told of its clock', () => {
    const { time, holders } = tableAt(1000);
    const map = haveMap(root, 3, [1]);
    const dateOf = () => holders.last(root, A)?.atMs;
    holders.note(root, A, map, { readAtMs: 77_000 });
    expect(dateOf()).toBe(1000); // nothing is known of its clock
    time.nowMs = 2000;
    holders.note(root, A, map, { atMs: 1900, readAtMs: 77_950 }); // read by then: 50 ms passed at least
    time.nowMs = 3000;
    holders.note(root, A, map, { atMs: 2990, readAtMs: 79_000 }); // and here 10 at most
    time.nowMs = 30_000;
    holders.note(root, A, map, { readAtMs: 80_000 });
    expect(dateOf()).toBe(3990);
    holders.note(root, A, map, { readAtMs: 999_000 });
    expect(dateOf()).toBe(30_000); // never ahead
    holders.turn(A);
    holders.note(root, A, map, { readAtMs: 5 });
    expect(dateOf()).toBe(30_000); // another life, another clock
  });

  it('tell the last re-hash by our clock, whatever the clock of the holder says', () => {
    const { holders } = tableAt(0, 1_000_000);
    const checkedOf = (told: object) => {
      holders.note(root, A, { ...haveMap(root, 3, [0]), ...told });
      return holders.last(root, A)?.haveMap?.checkedAtMs;
    };
    expect(checkedOf({ checkedAtMs: 5, checkedMsAgo: 10_000 })).toBe(990_000);
    expect(checkedOf({ checkedAtMs: Number.MAX_SAFE_INTEGER, checkedMsAgo: 0 })).toBe(1_000_000);
    expect(checkedOf({ checkedAtMs: Number.MAX_SAFE_INTEGER })).toBe(1_000_000);
    expect(checkedOf({ checkedAtMs: 5, checkedMsAgo: Number.MAX_SAFE_INTEGER })).toBe(0);
    expect(checkedOf({ checkedAtMs: 700_000 })).toBe(700_000); // of an older version
    expect(checkedOf({})).toBeUndefined();
  });

  it('forget the roots told least recently', () => {
    const { holders } = tableAt();
    const roots = Array.from({ length: 32_769 }, (_, index) => draft(`file ${index}`).root);
    for (const each of roots) holders.note(each, A, haveMap(each, 3, [0]));
    expect(holders.of(roots[0] ?? root)).toEqual([]);
    expect(holders.of(roots.at(-1) ?? root)).toHaveLength(1);
  });
});
