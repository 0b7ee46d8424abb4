import { describe, expect, it } from '@jest/globals';
import type { Cid, FileEntry, Member } from '@shoal/protocol';
import { createTally, watchedBy } from '../../src/health/survey.ts';
import { draft } from '../integration/peer.ts';

const entry = (name: string, copies: number, state: FileEntry['state']): FileEntry => {
  const { root: cid, sha256 } = draft(name);
  return {
    cid,
    kind: 'file',
    name,
    sizeBytes: 10,
    sha256,
    blocks: 1,
    replicas: 3,
    createdAtMs: 0,
    state,
    causes: [],
    copies,
  };
};

describe('a survey', () => {
  it('counts files by state and bytes that lack copies', () => {
    const round = createTally(new Map(), 1000);
    round.add([entry('a', 3, 'safe'), entry('b', 1, 'at-risk')]);
    round.add([entry('c', 0, 'missing')]);
    expect(round.finish()).toEqual({
      files: {
        receiving: 0,
        spreading: 0,
        safe: 1,
        reduced: 0,
        limited: 0,
        'at-risk': 1,
        missing: 1,
        unknown: 0,
      },
      belowTargetBytes: 20,
      belowTargetAgeMs: 0,
    });
  });

  it('tells how long the oldest has lacked copies, and forgets one that is safe again', () => {
    const since = new Map<Cid, number>();
    const ageAt = (nowMs: number, ...entries: FileEntry[]) => {
      const round = createTally(since, nowMs);
      round.add(entries);
      return round.finish().belowTargetAgeMs;
    };
    expect(ageAt(1000, entry('a', 1, 'at-risk'))).toBe(0);
    expect(ageAt(3000, entry('a', 1, 'at-risk'), entry('b', 1, 'at-risk'))).toBe(2000);
    expect(ageAt(4000, entry('a', 3, 'safe'), entry('b', 2, 'at-risk'))).toBe(1000);
    expect(ageAt(5000)).toBe(0);
    expect(since.size).toBe(0);
  });

  it('takes a file that nobody can tell of for neither short of copies nor back at them', () => {
    const since = new Map<Cid, number>();
    const round = createTally(since, 1000);
    round.add([entry('a', 1, 'reduced'), entry('b', 0, 'unknown')]);
    expect(round.finish()).toMatchObject({ files: { unknown: 1 }, belowTargetBytes: 10 });
    const next = createTally(since, 3000);
    next.add([entry('a', 3, 'unknown')]);
    expect(next.finish()).toMatchObject({ belowTargetBytes: 0, belowTargetAgeMs: 2000 });
    expect(since.size).toBe(1);
  });

  it('has each file watched by one member that is up, or by all when nobody has room', () => {
    const members = ['x', 'y', 'z'].map((peerId, index) => ({
      peerId,
      capacityBytes: 1 + index,
      domain: { host: 'h', disk: peerId },
      draining: false,
    })) as unknown as Member[]; // what placement reads of them
    for (const name of ['a', 'b', 'c', 'd', 'e', 'f']) {
      const { root } = draft(name);
      const watchers = members.filter(({ peerId }) => watchedBy(peerId, members)(root));
      expect(watchers).toHaveLength(1);
      const rest = members.filter((member) => member !== watchers[0]);
      expect(rest.filter(({ peerId }) => watchedBy(peerId, rest)(root))).toHaveLength(1);
      const leaving = members.map((member) => ({ ...member, draining: member === watchers[0] }));
      const heirs = leaving.filter(({ peerId }) => watchedBy(peerId, leaving)(root));
      expect(heirs).toEqual(rest.filter(({ peerId }) => watchedBy(peerId, rest)(root)));
      const full = members.map((member) => ({ ...member, capacityBytes: 0 }));
      expect(full.filter(({ peerId }) => watchedBy(peerId, full)(root))).toHaveLength(3);
    }
  });
});
