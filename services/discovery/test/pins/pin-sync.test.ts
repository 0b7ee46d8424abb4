import { describe, expect, it } from '@jest/globals';
import type { Cid, Member, PeerId } from '@shoal/protocol';
import type { PinStamp } from '@shoal/swarm';
import { knowsAll } from '../../src/pins/compared.ts';
import { compareBuckets } from '../../src/pins/pin-sync.ts';

const member = (name: string, part: Partial<Member> = {}) => ({
  peerId: name as PeerId,
  state: 'alive' as const,
  leaving: false,
  draining: false,
  ...part,
});
const everybody = () => true;
const comparedWith = (...names: string[]) => ({
  isCompared: (peerId: PeerId) => names.includes(peerId),
  isConnected: everybody,
  mayBeMore: false,
});

describe('a peer knows all pins', () => {
  it('when it is alone, and nobody else may be there', () => {
    expect(knowsAll([], comparedWith())).toBe(true);
    expect(knowsAll([], { ...comparedWith(), mayBeMore: true })).toBe(false);
  });

  it('when it compared them with all that are up, suspects too', () => {
    const others = [member('a'), member('b', { state: 'suspect' }), member('c', { state: 'down' })];
    expect(knowsAll(others, comparedWith('a', 'b'))).toBe(true);
    expect(knowsAll(others, comparedWith('a'))).toBe(false);
    expect(knowsAll(others, comparedWith('b', 'c'))).toBe(false);
  });

  it('not when all that it knows are away', () => {
    expect(knowsAll([member('a', { state: 'down' })], comparedWith('a'))).toBe(false);
    expect(knowsAll([member('a', { state: 'out' })], comparedWith('a'))).toBe(false);
    expect(knowsAll([member('a', { state: 'suspect' })], comparedWith('a'))).toBe(false);
  });

  it('without those who drained and left for good', () => {
    const gone = member('a', { state: 'out', leaving: true, draining: true });
    expect(knowsAll([gone], comparedWith())).toBe(true);
    expect(knowsAll([gone, member('b')], comparedWith('b'))).toBe(true);
    expect(knowsAll([gone, member('b')], comparedWith())).toBe(false);
  });

  it('of a large swarm when it compared them with those that it is connected to', () => {
    const others = Array.from({ length: 65 }, (_, index) => member(`m${index}`));
    const isConnected = (peerId: PeerId) => peerId === 'm3';
    expect(knowsAll(others, { ...comparedWith('m3'), isConnected })).toBe(true);
    expect(knowsAll(others, { ...comparedWith('m4'), isConnected })).toBe(false);
    expect(knowsAll(others, { ...comparedWith('m3'), isConnected: () => false })).toBe(false);
  });
});

describe('comparing stamps', () => {
  it('takes and gives what is later, tombstones before changes of their epoch', () => {
    const stamp = (root: string, part: Partial<PinStamp> = {}): PinStamp => ({
      root: root as Cid,
      epoch: 1,
      deleted: false,
      clock: 1,
      origin: 'o' as PeerId,
      ...part,
    });
    const theirs = [stamp('a', { clock: 9 }), stamp('b', { epoch: 2 }), stamp('c'), stamp('e')];
    const ours = [stamp('a', { deleted: true }), stamp('b', { deleted: true }), stamp('d')];
    expect(compareBuckets(theirs, [...ours, stamp('e')])).toEqual({
      take: ['b', 'c'],
      give: ['a', 'd'],
    });
  });

  it('of several versions of a root takes and gives what the other side lacks', () => {
    const stamp = (origin: string, part: Partial<PinStamp> = {}): PinStamp => ({
      root: 'a' as Cid,
      epoch: 1,
      deleted: false,
      clock: 1,
      origin: origin as PeerId,
      ...part,
    });
    const both = [stamp('p'), stamp('q', { clock: 2 })];
    const compare = (theirs: PinStamp[], ours: PinStamp[], isOpen = false) =>
      compareBuckets(theirs, ours, { isOpen });
    const [take, give] = [['a'], ['a']];
    expect(compare(both, both.toReversed())).toEqual({ take: [], give: [] });
    expect(compare(both, [stamp('p')])).toEqual({ take, give: [] });
    // Of two signers neither replaces the other, unless pins belong to nobody.
    expect(compare([stamp('p')], [stamp('q', { clock: 2 })])).toEqual({ take, give });
    expect(compare([stamp('p')], [stamp('q', { clock: 2 })], true)).toEqual({ take: [], give });
    expect(compare([stamp('p', { clock: 2 })], [stamp('p')])).toEqual({ take, give: [] });
    const author = 'x' as PeerId;
    expect(compare(both, [stamp('p'), stamp('q', { clock: 2, author })])).toEqual({ take, give });
  });
});
