import { describe, expect, it } from '@jest/globals';
import type { PeerId } from '@shoal/protocol';
import { countCopies, oldestCheck } from '../../src/holders/count-copies.ts';
import { draft, haveMap } from '../integration/peer.ts';

const { root } = draft('x');
const holding = (name: string, having: readonly number[], blocks = 3) => ({
  peerId: name as PeerId,
  haveMap: haveMap(root, blocks, having),
});
const ownDisk = (peerId: PeerId) => ({ host: 'h', disk: peerId });

describe('copies', () => {
  it('are those of the block that has fewest', () => {
    const holdings = [holding('a', [0, 1, 2]), holding('b', [0, 1]), holding('c', [0, 1])];
    expect(countCopies(3, holdings, ownDisk)).toEqual({ copies: 1, disks: 1, machines: 1 });
    expect(countCopies(3, [], ownDisk)).toEqual({ copies: 0, disks: 0, machines: 0 });
    expect(countCopies(3, [holding('a', [0, 1])], ownDisk)).toEqual({
      copies: 0,
      disks: 0,
      machines: 0,
    });
  });

  it('on one disk are one accident', () => {
    const holdings = [holding('a', [0, 1, 2]), holding('b', [0, 1, 2])];
    const oneDisk = () => ({ host: 'h', disk: 'd' });
    expect(countCopies(3, holdings, ownDisk)).toEqual({ copies: 2, disks: 2, machines: 1 });
    expect(countCopies(3, holdings, oneDisk)).toEqual({ copies: 2, disks: 1, machines: 1 });
  });

  it('are on as few disks as the worst-placed block, though it has more copies than another', () => {
    const holdings = [
      holding('a', [0, 1]),
      holding('b', [0, 1]),
      holding('c', [0, 2]),
      holding('d', [1, 2]),
    ];
    const disks = new Map([
      ['a', 'x'],
      ['b', 'x'],
      ['c', 'x'],
      ['d', 'y'],
    ]);
    const domainOf = (peerId: PeerId) => ({ host: 'h', disk: disks.get(peerId) ?? '' });
    expect(countCopies(3, holdings, domainOf)).toEqual({ copies: 2, disks: 1, machines: 1 });
  });

  it('do not count a map of another length', () => {
    expect(countCopies(3, [holding('a', [0, 1, 2, 3], 4)], ownDisk)).toMatchObject({ copies: 0 });
  });
});

describe('the last check', () => {
  const checked = (checkedAtMs: number) => ({
    peerId: 'a' as PeerId,
    haveMap: { ...haveMap(root, 3, [0]), checkedAtMs },
  });

  it('is the oldest of all holders, and unknown when one does not say', () => {
    expect(oldestCheck([checked(5), checked(3)])).toEqual({ checkedAtMs: 3 });
    expect(oldestCheck([checked(5), holding('b', [0])])).toEqual({});
    expect(oldestCheck([])).toEqual({});
  });
});
