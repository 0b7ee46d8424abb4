import { describe, expect, it } from '@jest/globals';
import type { Cid, PeerId } from '@shoal/protocol';
import { createHolders } from '../../src/holders/holders.ts';
import { createRefresh } from '../../src/holders/refresh.ts';
import { draft, haveMap } from '../integration/peer.ts';

const { signal } = new AbortController();
const SELF = 'self' as PeerId; // nothing here parses it
const [held, lost, unread] = ['held', 'lost', 'unread'].map((name) => draft(name).root) as [
  Cid,
  Cid,
  Cid,
]; // one for each name

function openTable() {
  const time = { nowMs: 100 };
  const holders = createHolders({ clock: () => time.nowMs });
  const wanted: Cid[][] = [];
  const refresh = createRefresh({
    self: SELF,
    holders,
    want: async (roots) => {
      wanted.push([...roots]);
      return { asked: 0, answered: [], answers: [] };
    },
    readHaveMap: async (root) => {
      time.nowMs += 1000; // a slow disk
      if (root === unread) return { haveMap: 'unread', readAtMs: 1 };
      return { haveMap: root === held ? haveMap(root, 3, [0]) : undefined, readAtMs: 1 };
    },
  });
  return { time, holders, wanted, refresh };
}

describe('refreshing the table of holders', () => {
  it('notes what our storage holds as of the question, and nothing of what it could not read', async () => {
    const { holders, refresh } = openTable();
    for (const root of [held, lost, unread])
      holders.note(root, SELF, haveMap(root, 3, [0, 1]), { atMs: 5 });
    await refresh({ own: [held, lost, unread], members: [] }, { signal });
    expect(holders.last(held, SELF)).toMatchObject({ haveMap: haveMap(held, 3, [0]), atMs: 100 });
    expect(holders.last(lost, SELF)).toMatchObject({ haveMap: undefined });
    expect(holders.last(unread, SELF)).toMatchObject({
      haveMap: haveMap(unread, 3, [0, 1]),
      atMs: 5,
    });
  });

  it('asks the members for the files that are named, and not at all for none', async () => {
    const { wanted, refresh } = openTable();
    await refresh({ own: [held, lost], members: [] }, { signal });
    expect(wanted).toEqual([]);
    await refresh({ own: [], members: [lost] }, { signal });
    expect(wanted).toEqual([[lost]]);
  });
});
